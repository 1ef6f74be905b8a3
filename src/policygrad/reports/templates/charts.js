// --- charts: unpacked and drawn only when they come into view
async function unpacked(id) {
  const bytes = Uint8Array.from(atob(byId(id).textContent), character => character.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

let plotlyLoading = null;
function plotly() {
  plotlyLoading ??= unpacked("plotly").then(text => {
    const script = element("script", {nonce: document.currentScript?.nonce ?? nonce});
    script.textContent = text;
    document.head.append(script);
    script.remove();
    return window.Plotly;
  });
  return plotlyLoading;
}

const style = name => getComputedStyle(root).getPropertyValue(name).trim();
const COLORS = 8;
const color = index => style(`--c${index % COLORS}`);
const DASHES = ["solid", "dash", "dot", "dashdot", "longdash"];
const dash = index => DASHES[Math.floor(index / COLORS) % DASHES.length];
function faded(hex, share) {
  const [r, g, b] = [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
  return `rgba(${r},${g},${b},${share})`;
}

const isTouch = matchMedia("(pointer: coarse)").matches;
const CONFIG = {displaylogo: false, responsive: true, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"]};

function layout(changes = {}) {
  const axis = {
    gridcolor: style("--grid"), zerolinecolor: style("--grid"), linecolor: style("--line"), automargin: true,
    fixedrange: isTouch, tickfont: {size: 11.5}, title: {font: {size: 12}, standoff: 8}, hoverformat: ",.4~g",
  };
  const {xaxis, yaxis, ...rest} = changes;
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hovermode: "x unified",
    font: {family: style("--font"), color: style("--soft"), size: 12}, margin: {l: 46, r: 12, t: 8, b: 40},
    hoverlabel: {bgcolor: style("--card"), bordercolor: style("--line"), font: {color: style("--text"), size: 12}},
    dragmode: isTouch ? false : "zoom",
    xaxis: {...axis, ...xaxis, title: {...axis.title, ...xaxis?.title}},
    yaxis: {...axis, ...yaxis, title: {...axis.title, ...yaxis?.title}},
    ...rest,
  };
}

const drawn = new Map();  // chart → function that returns its traces and layout
const waiting = new IntersectionObserver(entries => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, {rootMargin: "300px"});

function chart(place, content) {
  drawn.set(place, content);
  waiting.observe(place);
}

async function draw(place) {
  waiting.unobserve(place);
  await plotly();
  if (place.isConnected && drawn.has(place)) await drawNow(place);
}

async function drawNow(place) {
  const [traces, arranged] = drawn.get(place)();
  await window.Plotly.react(place, traces, arranged, CONFIG);
  place.dataset.drawn = "";
}

function redraw() {
  for (const place of drawn.keys()) {
    if (!place.isConnected) drawn.delete(place);
    else if ("drawn" in place.dataset && place.offsetParent) draw(place);
  }
}
afterTheme.push(redraw);

// paper is light, and shows all charts
let themeOfScreen = null;
addEventListener("beforeprint", () => {
  themeOfScreen = root.dataset.theme ?? "";
  root.dataset.theme = "light";
  if (window.Plotly) drawn.forEach((_, place) => place.offsetParent && drawNow(place));
});
addEventListener("afterprint", () => {
  if (themeOfScreen) root.dataset.theme = themeOfScreen;
  else delete root.dataset.theme;
  redraw();
});

const thresholdLine = threshold => threshold === null ? [] : [{
  type: "line", xref: "paper", x0: 0, x1: 1, y0: threshold, y1: threshold,
  line: {color: style("--soft"), width: 1.2, dash: "dash"},
}];

function band(x, low, high, index, shape = "linear") {
  const line = {width: 0, shape};
  const common = {x, mode: "lines", line, hoverinfo: "skip", connectgaps: false};
  return [
    {...common, y: low},
    {...common, y: high, fill: "tonexty", fillcolor: faded(color(index), isDark() ? 0.25 : 0.17)},
  ];
}

const cellsOf = environment => data.cells.map((cell, place) => ({...cell, place}))
  .filter(cell => cell.environment === environment && chosen.configurations.has(cell.configuration));

function curveChart(environment) {
  const traces = [];
  const cells = cellsOf(environment).filter(cell => cell.curve);
  const each = byId("each").checked, bands = byId("bands").checked;
  if (each || chosen.seed !== "") {
    for (const cell of cells) {
      for (const run of data.runs.filter(one => one.cell === cell.place && one.lines.return_100)) {
        const isChosen = chosen.seed !== "" && String(run.seed) === chosen.seed;
        if (!each && !isChosen) continue;
        traces.push({
          x: run.x, y: run.lines.return_100, mode: "lines", hoverinfo: "skip", connectgaps: true,
          line: {color: faded(color(cell.configuration), isChosen ? 0.9 : 0.28), width: isChosen ? 1.6 : 1},
        });
      }
    }
  }
  for (const {curve, configuration} of cells) {
    if (bands && curve.low.some(value => value !== null)) traces.push(...band(curve.x, curve.low, curve.high, configuration));
  }
  for (const {curve, configuration} of cells) {
    const ends = curve.x.map((_, i) => curve.low[i] === null ? "" : ` [${number(curve.low[i])}, ${number(curve.high[i])}]`);
    traces.push({
      x: curve.x, y: curve.value, mode: "lines", name: safe(data.configurations[configuration]), text: ends,
      hovertemplate: "%{y:,.4~g}%{text}", line: {color: color(configuration), width: 2.4, dash: dash(configuration)},
    });
  }
  const threshold = cells.find(cell => cell.threshold !== null)?.threshold ?? null;
  // what any run reached limits the axis: the intervals of a few seeds may be very wide
  const reach = cells.flatMap(({curve}) => [curve.lowest, curve.highest]).concat(threshold ?? []);
  const bottom = Math.min(...reach), top = Math.max(...reach), room = 0.04 * (top - bottom || Math.abs(top) || 1);
  return [traces, layout({
    shapes: thresholdLine(threshold),
    xaxis: {title: {text: "environment steps"}, type: byId("log").checked ? "log" : "linear"},
    yaxis: {title: {text: "return"}, ...(cells.length ? {range: [bottom - room, top + room]} : {})},
  })];
}

function scoreChart(environment) {
  const cells = cellsOf(environment).filter(cell => cell.iqm).reverse();
  const traces = [];
  cells.forEach((cell, row) => {
    const entries = Object.entries(cell.scores);
    const scatter = entries.map((_, i) => row + 0.18 + 0.14 * ((i * 0.618034) % 1));
    traces.push({
      x: entries.map(([, score]) => score), y: scatter, mode: "markers", hoverinfo: "text",
      text: entries.map(([seed, score]) => `seed ${seed}: ${number(score)}`),
      marker: {
        color: entries.map(([seed]) => faded(color(cell.configuration), chosen.seed === "" || chosen.seed === seed ? 0.55 : 0.12)),
        size: entries.map(([seed]) => chosen.seed === seed ? 10 : 6.5), line: {width: 0},
      },
    });
    const [value, low, high] = cell.iqm;
    traces.push({
      x: [value], y: [row - 0.12], mode: "markers", hoverinfo: "text",
      text: [`IQM ${number(value)}${low === null ? "" : ` [${number(low)}, ${number(high)}]`}`],
      marker: {color: color(cell.configuration), size: 10, symbol: "diamond"},
      error_x: low === null ? undefined : {
        type: "data", symmetric: false, array: [high - value], arrayminus: [value - low],
        color: color(cell.configuration), thickness: 2.6, width: 5,
      },
    });
  });
  return [traces, layout({
    hovermode: "closest", height: 76 + 58 * Math.max(cells.length, 1),
    xaxis: {title: {text: "score"}},
    yaxis: {
      tickvals: cells.map((_, row) => row), ticktext: cells.map(cell => safe(shortened(data.configurations[cell.configuration]))),
      range: [-0.5, Math.max(cells.length, 1) - 0.4], showgrid: false, zeroline: false, fixedrange: true,
    },
  })];
}

function solvedChart(environment) {
  const traces = [], cells = cellsOf(environment).filter(cell => cell.solved);
  const stepped = cell => {
    const {x, share, low, high, end} = cell.solved;
    const last = values => values.length ? values.at(-1) : 0;
    return {x: [0, ...x, end], share: [0, ...share, last(share)], low: [0, ...low, last(low)], high: [0, ...high, last(high)]};
  };
  for (const cell of cells) {
    const {x, low, high} = stepped(cell);
    if (cell.solved.x.length) traces.push(...band(x, low, high, cell.configuration, "hv"));
  }
  for (const cell of cells) {
    const {x, share} = stepped(cell);
    traces.push({
      x, y: share, mode: "lines", name: safe(data.configurations[cell.configuration]), hovertemplate: "%{y:.0%}",
      line: {color: color(cell.configuration), width: 2.4, shape: "hv", dash: dash(cell.configuration)},
    });
  }
  const height = 76 + 58 * Math.max(cellsOf(environment).length, 1);
  return [traces, layout({
    height: Math.max(height, 220), xaxis: {title: {text: "environment steps"}, rangemode: "tozero"},
    yaxis: {range: [-0.03, 1.05], tickformat: ".0%"},
  })];
}

const shortened = name => name.length > 24 ? `${name.slice(0, 23)}…` : name;
// plotly reads a little markup in names; these characters become harmless
const safe = name => name.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
