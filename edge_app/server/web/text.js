// Numbers and sentences as text.

export const percent = (share) => `${Math.round(share * 100)}\u202f%`;
export const seconds = (value) => value.toFixed(1);

export function clock(value) {
  if (value < 60) return `${seconds(value)}\u202fs`;
  const minutes = Math.floor(value / 60);
  const rest = String(Math.floor(value % 60)).padStart(2, "0");
  return minutes < 60 ? `${minutes}:${rest}` : `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, "0")}:${rest}`;
}

export function span(value) {
  return value < 120 ? `${Math.round(value)} seconds` : `${Math.round(value / 6) / 10} minutes`;
}

export const ranked = (scores) => Object.entries(scores).sort((a, b) => b[1] - a[1]);

export const runnersUp = (scores, from = 1, count = 2) =>
  ranked(scores).slice(from, from + count).map(([label, score]) => `${label} ${percent(score)}`).join(", ");

export const size = (bytes) => `${(bytes / 2 ** 20).toFixed(bytes < 10 * 2 ** 20 ? 1 : 0)}\u202fMB`;

export function verdict(answer, threshold) {
  if (answer.emotion === "unknown") {
    const flat = Math.max(...Object.values(answer.scores)) - Math.min(...Object.values(answer.scores)) < 1e-6;
    if (flat) return "There is no voice in the sound, so there is no answer.";
    return `No score reaches the threshold of ${percent(threshold)}. Nearest: ${runnersUp(answer.scores, 0)}.`;
  }
  return `Highest score: ${percent(answer.confidence)}. Then ${runnersUp(answer.scores)}.`;
}
