// the remembered theme, before anything is drawn; without one, the page follows the system
try {
  const theme = localStorage.getItem("policygrad-theme");
  if (theme) document.documentElement.dataset.theme = theme;
} catch { /* storage may be forbidden */ }
document.documentElement.classList.add("scripted");
