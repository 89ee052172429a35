// Sets the chosen colors before anything is painted. A plain script, because modules run later.
(() => {
  const chosen = localStorage.getItem("ownware.theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
