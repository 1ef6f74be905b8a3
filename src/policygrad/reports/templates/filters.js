// --- filters by environment, configuration, seed and state, and sorting of the list of runs
const chosen = {environments: new Set(), configurations: new Set(), seed: "", state: ""};

const matches = row => {
  const {environment, configuration, seed, state} = row.dataset;
  return (environment === undefined || chosen.environments.has(Number(environment)))
    && (configuration === undefined || chosen.configurations.has(Number(configuration)))
    && (seed === undefined || chosen.seed === "" || seed === chosen.seed)
    && (state === undefined || chosen.state === "" || state === chosen.state);
};

function filter() {
  for (const kind of ["environment", "configuration"]) {
    const boxes = all(`#filters input[name=${kind}]`);
    chosen[`${kind}s`] = new Set(boxes.filter(box => box.checked).map(box => Number(box.value)));
  }
  chosen.seed = byId("seed").value;
  chosen.state = byId("state").value;
  for (const part of all("#overview [data-environment], #overview [data-configuration]")) part.hidden = !matches(part);
  const rows = all("#run-table tbody tr"), visible = rows.filter(row => !row.hidden).length;
  const words = visible === rows.length ? `All ${rows.length} are listed.` : `${visible} of ${rows.length} match the filters.`;
  byId("shown").textContent = words;
  byId("filter-status").textContent = `Runs: ${words}`;
  byId("none").hidden = visible > 0;
  redraw();
}

function options(select, values) {
  for (const value of values) select.append(element("option", {value}, String(value)));
}

function startFilters() {
  byId("filters").hidden = false;
  all(".toggles").forEach(part => part.hidden = false);
  options(byId("seed"), [...new Set(data.runs.map(run => run.seed))].sort((a, b) => a - b));
  options(byId("state"), [...new Set(data.runs.map(run => run.state))]);
  byId("filters").addEventListener("change", filter);
  byId("reset").addEventListener("click", () => {
    all("#filters input").forEach(box => box.checked = true);
    all("#filters select").forEach(select => select.value = "");
    filter();
  });
  all(".toggles input").forEach(box => box.addEventListener("change", redraw));
  all("#run-table thead th").forEach(sortable);
  filter();
}

function sortable(heading, column) {
  const button = element("button", {type: "button"}, heading.textContent);
  heading.replaceChildren(button);
  button.addEventListener("click", () => {
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    all("#run-table thead th").forEach(other => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const body = byId("run-table").tBodies[0];
    const key = row => {
      const cell = row.cells[column];
      const text = cell.dataset.value ?? cell.textContent.trim();
      const value = Number(text);
      return text === "" || text === "nan" ? null : Number.isNaN(value) ? text : value;
    };
    const rows = [...body.rows].map(row => [key(row), row]);
    rows.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);  // what has no value comes last
      const order = typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
      return ascending ? order : -order;
    });
    body.append(...rows.map(([, row]) => row));
  });
}
