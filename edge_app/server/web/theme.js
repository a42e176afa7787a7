// Before the page is drawn, so that it does not flash in the other theme.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* storage may be forbidden: then the system decides */ }
