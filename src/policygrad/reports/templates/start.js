// --- what happens when the page is read
const nonce = document.currentScript.nonce;
let data = null;

async function start() {
  startTheme();
  startFilms();
  if (!("DecompressionStream" in window)) {
    byId("no-charts").hidden = false;
    return;
  }
  data = JSON.parse(await unpacked("data"));
  const only = byId("only-run");
  if (only) {
    byId("run-table").closest(".scroll").hidden = true;
    only.append(element("p", {}, data.runs[0].sentence), ...runContents(data.runs[0], "h3"));
  } else {
    startFilters();
    const charts = {curve: curveChart, scores: scoreChart, solved: solvedChart};
    for (const [name, content] of Object.entries(charts)) {
      for (const place of all(`[data-${name}]`)) chart(place, () => content(Number(place.dataset[name])));
    }
  }
  addEventListener("hashchange", route);
  route();
  root.dataset.ready = "";
}
start();
