// Runs before the page is drawn, so that it does not flash in the other theme.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* no storage: the system's theme is used */ }
