// --- the page of a run: #run=folder/seed-0
const runName = run => {
  const cell = data.cells[run.cell];
  return [data.environments[cell.environment], data.configurations[cell.configuration], `seed ${run.seed}`];
};

function healthBadge(run, name) {
  const healthy = run.healthy?.[name];
  if (healthy === null || healthy === undefined) return null;
  return element("span", {class: `badge ${healthy ? "decided" : "outside"}`}, healthy ? "healthy" : "outside the range");
}

// text in which names between backticks become code
const withCode = text => text.split("`").map((part, i) => i % 2 ? element("code", {}, part) : part);

function metricFigure(run, name) {
  const metric = data.metrics[name];
  const unit = metric.unit && metric.unit !== "—" ? `, in ${metric.unit}` : "";
  const end = run.ends[name];
  const spoken = `${name}${unit}. Mean of the last tenth of the run: ${number(end)}. Healthy: ${metric.healthy.replaceAll("`", "")}.`;
  const place = element("div", {class: "chart small", role: "img", "aria-label": spoken});
  const figure = element("figure", {class: "card metric", "data-metric": name},
    element("h3", {}, element("code", {}, name), " ", healthBadge(run, name)),
    place,
    element("figcaption", {},
      element("p", {}, `At the end: ${number(end)}${unit}. Healthy: `, ...withCode(metric.healthy), "."),
      metric.formula ? element("details", {}, element("summary", {}, "What it measures"),
        element("p", {}, ...withCode(metric.formula))) : null));
  chart(place, () => metricChart(run, name));
  return figure;
}

function metricChart(run, name) {
  const metric = data.metrics[name], values = run.lines[name], traces = [], shapes = [];
  const isNoise = name === "noise_scale" && run.samplesPerStep;
  const known = values.filter(value => value !== null);
  const positive = known.every(value => value > 0);
  const isLog = positive && known.length > 1 && Math.max(...known) / Math.min(...known) > 300 || Boolean(isNoise && positive);
  if (metric.low != null || metric.high != null) {
    shapes.push({
      type: "rect", xref: "paper", x0: 0, x1: 1, layer: "below", line: {width: 0}, fillcolor: style("--healthy"),
      ...healthyBox(metric, known, isLog),
    });
  }
  if (isNoise) {
    shapes.push({
      type: "line", xref: "paper", x0: 0, x1: 1, y0: run.samplesPerStep, y1: run.samplesPerStep,
      line: {color: style("--c1"), width: 1.5, dash: "dash"},
    });
  }
  const index = data.cells[run.cell].configuration;
  traces.push({
    x: run.x, y: values, mode: known.length > 1 ? "lines" : "markers", connectgaps: true, name: "",
    hovertemplate: "%{y:,.4~g}", line: {color: color(index), width: 1.5},
  });
  const annotations = isNoise ? [{
    xref: "paper", x: 1, xanchor: "right", y: isLog ? Math.log10(run.samplesPerStep) : run.samplesPerStep, yanchor: "bottom",
    showarrow: false, font: {size: 11, color: style("--c1")}, text: `${number(run.samplesPerStep)} samples per step`,
  }] : [];
  const constant = known.length && known.every(value => value === known[0]) && !shapes.length;
  const decades = isLog ? Math.log10(Math.max(...known, run.samplesPerStep || 0) / Math.min(...known)) : 0;
  const room = constant && (Math.abs(known[0]) || 1) / 2;
  return [traces, layout({
    shapes, annotations, height: 190, margin: {l: 40, r: 10, t: 6, b: 28}, xaxis: {nticks: 5},
    yaxis: {
      type: isLog ? "log" : "linear", nticks: 5, exponentformat: "power",
      ...(decades > 1.5 ? {dtick: Math.ceil(decades / 5)} : {}),
      ...(constant ? {range: [known[0] - room, known[0] + room]} : {}),
    },
  })];
}

// the healthy range as far as the values reach, so that a wide range does not flatten the line
function healthyBox({low, high}, known, isLog) {
  const least = Math.min(...known), most = Math.max(...known), room = 0.15 * (most - least || Math.abs(most) || 1);
  const bottom = low ?? Math.min(isLog ? least / 2 : least - room, high ?? least);
  const top = high ?? Math.max(isLog ? most * 2 : most + room, low ?? most);
  return {y0: bottom, y1: top};
}

function returnFigure(run) {
  const [environment, configuration] = runName(run);
  const place = element("div", {
    class: "chart curve", role: "img",
    "aria-label": `Training returns of the run, next to those of the other seeds. ${run.sentence}`,
  });
  chart(place, () => {
    const index = data.cells[run.cell].configuration, traces = [];
    for (const other of data.runs) {
      if (other.cell !== run.cell || other === run || !other.lines.return_100) continue;
      traces.push({
        x: other.x, y: other.lines.return_100, mode: "lines", hoverinfo: "skip", connectgaps: true,
        line: {color: faded(style("--gray"), 0.45), width: 1},
      });
    }
    if (run.lines.return) {
      traces.push({
        x: run.x, y: run.lines.return, mode: "lines", connectgaps: true, name: "per update", hovertemplate: "%{y:,.4~g}",
        line: {color: faded(color(index), 0.4), width: 1},
      });
    }
    if (run.lines.return_100) {
      traces.push({
        x: run.x, y: run.lines.return_100, mode: "lines", connectgaps: true, name: "last 100 episodes",
        hovertemplate: "%{y:,.4~g}", line: {color: color(index), width: 2.6},
      });
    }
    if (run.lines.eval_return) {
      traces.push({
        x: run.x, y: run.lines.eval_return, mode: "markers", name: "evaluation", hovertemplate: "%{y:,.4~g}",
        marker: {color: style("--text"), size: 6, symbol: "diamond"},
      });
    }
    const shapes = thresholdLine(run.threshold);
    if (run.solvedAt !== null) {
      shapes.push({
        type: "line", yref: "paper", y0: 0, y1: 1, x0: run.solvedAt, x1: run.solvedAt,
        line: {color: style("--good"), width: 1.5, dash: "dot"},
      });
    }
    return [traces, layout({shapes, xaxis: {title: {text: "environment steps"}}, yaxis: {title: {text: "return"}}})];
  });
  const others = data.runs.some(other => other.cell === run.cell && other !== run);
  const words = ["Bold: mean of the last 100 training returns. Thin: mean of the episodes of each update."];
  if (others) words.push(`Gray: the other seeds of ${configuration} on ${environment}.`);
  if (run.threshold !== null) words.push("The dashed line counts as solved.");
  if (run.solvedAt !== null) words.push("The dotted line is where the run solved the environment.");
  return element("figure", {class: "card"}, element("h3", {}, "Return"), place, element("figcaption", {}, words.join(" ")));
}

function facts(rows) {
  return element("dl", {class: "card facts"},
    ...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
}

function runContents(run, heading) {
  const parts = [];
  if (run.facts.length) parts.push(facts(run.facts));
  if (run.failure) {
    parts.push(element("section", {class: "card failure"}, element(heading, {}, "Failure"),
      element("p", {}, run.failure.error),
      element("details", {}, element("summary", {}, "Traceback"), element("pre", {tabindex: 0}, run.failure.traceback))));
  }
  parts.push(element("section", {class: "card findings"}, element(heading, {}, "Findings"),
    run.findings.length ? element("ul", {}, ...run.findings.map(finding => element("li", {}, finding)))
      : element("p", {}, "The metrics of this run point to no problem.")));
  const names = Object.keys(run.lines);
  if (names.includes("return_100")) parts.push(returnFigure(run));
  const rest = names.filter(name => !["return", "return_100", "eval_return"].includes(name));
  if (rest.length) {
    parts.push(element(heading, {}, "Metrics"),
      element("p", {}, "Shaded areas are healthy ranges. Peaks are kept where a line has more updates than points."),
      element("div", {class: "metrics"}, ...rest.map(name => metricFigure(run, name))));
  } else {
    parts.push(element("p", {class: "empty"}, "The run has logged no metrics."));
  }
  return parts;
}

function settingsOf(run) {
  const rows = data.cells[run.cell].settings.map(([name, value]) => element("tr", {},
    element("th", {scope: "row"}, element("code", {}, name)), element("td", {}, value)));
  return [element("h2", {}, "Settings"), element("div", {class: "card"}, element("details", {},
    element("summary", {}, `All ${rows.length} settings`), element("table", {}, element("tbody", {}, ...rows))))];
}

let scrolled = 0, showing = null;
function route() {
  const wanted = location.hash.startsWith("#run=") ? decodeURIComponent(location.hash.slice(5)) : null;
  const run = data.runs.find(one => one.id === wanted);
  const page = byId("run-page"), overview = byId("overview");
  if (!run || byId("only-run")) {
    if (showing) {
      page.hidden = true;
      page.replaceChildren();
      overview.hidden = false;
      showing = null;
      document.title = overviewTitle;
      if (!location.hash || location.hash.startsWith("#run=")) scrollTo(0, scrolled);
      else byId(location.hash.slice(1))?.scrollIntoView();
      redraw();
    }
    return;
  }
  if (!showing) scrolled = scrollY;
  showing = run;
  overview.hidden = true;
  page.hidden = false;
  const [environment, configuration, seed] = runName(run);
  const listed = all("#run-table tbody tr").filter(row => !row.hidden).map(row => row.dataset.run);
  const at = listed.indexOf(run.id);
  const step = (to, words) => to ? element("a", {href: `#run=${encodeURIComponent(to)}`, class: "step"}, words) : null;
  page.replaceChildren(
    element("nav", {"aria-label": "Runs", class: "steps"}, element("a", {href: "#runs", class: "step"}, "← All runs"),
      step(at > 0 && listed[at - 1], "Previous"), step(at >= 0 && listed[at + 1], "Next")),
    element("p", {class: "kicker"}, `${environment} · ${configuration}`),
    element("h1", {id: "run-title", tabindex: -1}, `${environment}, ${configuration}, ${seed} `,
      element("span", {class: `state ${slug(run.state)}`}, run.state)),
    element("p", {class: "lead"}, run.sentence), ...runContents(run, "h2"), ...settingsOf(run));
  document.title = `${runName(run).join(", ")} · ${overviewTitle}`;
  scrollTo(0, 0);
  byId("run-title").focus({preventScroll: true});
}
const overviewTitle = document.title;
