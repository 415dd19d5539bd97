// Runs before the page is drawn, so that the chosen theme never flashes. A plain script: modules run later.
(() => {
  const chosen = localStorage.getItem("tutelage.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
