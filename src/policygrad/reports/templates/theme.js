// --- the theme, and small helpers that build elements from text only, so that no name can become markup
const root = document.documentElement;
const byId = id => document.getElementById(id);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const systemIsDark = matchMedia("(prefers-color-scheme: dark)");

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter(child => child !== null && child !== undefined));
  return made;
}

const isDark = () => (root.dataset.theme ?? (systemIsDark.matches ? "dark" : "light")) === "dark";
const afterTheme = [];

function showTheme() {
  byId("theme").textContent = isDark() ? "Light theme" : "Dark theme";
  afterTheme.forEach(redraw => redraw());
}

function startTheme() {
  const button = byId("theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    try { localStorage.setItem("policygrad-theme", root.dataset.theme); } catch { /* storage may be forbidden */ }
    showTheme();
  });
  systemIsDark.addEventListener("change", showTheme);
  showTheme();
}

const plain = new Intl.NumberFormat("en", {maximumSignificantDigits: 4});
const number = x => x === null || x === undefined || !Number.isFinite(x) ? "—"
  : Math.abs(x) >= 1000 && Math.abs(x) < 1e15 ? Math.round(x).toLocaleString("en").replace("-", "−")
  : (x !== 0 && Math.abs(x) < 1e-4 ? x.toExponential(2) : plain.format(x)).replace("-", "−");
const slug = text => text.replaceAll(" ", "-");
