// The plots, and the word that the connection is lost. Everything else is htmx and HTML.
"use strict";
(() => {
  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const plots = [];
  let points = JSON.parse(document.getElementById("points").textContent);

  function plot(id, names, unit) {
    const box = document.getElementById(id);
    const lines = names.map((name, n) => ({
      label: name,
      stroke: css(n ? "--two" : "--one"),
      width: 2,
      dash: n ? [6, 4] : undefined,
      points: { show: false },
      spanGaps: true,
    }));
    const axis = { stroke: css("--soft"), grid: { stroke: css("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const made = new uPlot({
      width: box.clientWidth,
      height: box.clientHeight,
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, low, high) => [0, Math.max(high || 0, 1) * 1.1] } },
      series: [{}, ...lines],
      // Times are UTC, as in the log.
      axes: [{ ...axis, size: 28, space: 60, values: (_, ticks) => ticks.map((tick) => new Date(tick * 1000).toISOString().slice(11, 16)) }, { ...axis, size: 50, space: 32, values: (_, ticks) => ticks.map((tick) => (unit && tick >= 1000 ? `${tick / 1000} s` : `${tick}${unit}`)) }],
    }, data(names), box);
    return { box, made, names };
  }

  const span = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
  const data = (names) => [points.at, ...names.map((name) => points[name])];

  function draw() {
    for (const old of plots.splice(0)) old.made.destroy();
    plots.push(plot("plot-rate", ["done", "failed"], ""), plot("plot-time", ["median", "p95"], " ms"));
    tell();
  }

  // What the plots show, in words: for those who do not see them, and at a glance for all.
  function tell() {
    const last = points.at.length - 1;
    const rate = points.done[last] + points.failed[last];
    const middle = points.median.findLast((one) => one !== null);
    document.getElementById("now-rate").textContent = `${rate} /s`;
    document.getElementById("now-time").textContent = middle === undefined ? "" : span(middle);
  }

  document.addEventListener("DOMContentLoaded", () => {
    draw();
    const log = document.getElementById("log-box");
    const toEnd = () => log.firstElementChild && (log.firstElementChild.scrollTop = log.firstElementChild.scrollHeight);
    toEnd();
    addEventListener("resize", () => plots.forEach((one) => one.made.setSize({ width: one.box.clientWidth, height: one.box.clientHeight })));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
    // htmx swaps what it has places for; the points are for us.
    document.body.addEventListener("htmx:sseOpen", (event) => {
      document.getElementById("lost").hidden = true;
      event.detail.source.addEventListener("points", (message) => {
        points = JSON.parse(message.data);
        plots.forEach((one) => one.made.setData(data(one.names)));
        tell();
      });
    });
    document.body.addEventListener("htmx:sseError", () => { document.getElementById("lost").hidden = false; });
    // Whoever reads further up in the log is left there.
    let follow = true;
    log.addEventListener("htmx:sseBeforeMessage", () => {
      const box = log.firstElementChild;
      follow = !box || box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    });
    log.addEventListener("htmx:sseMessage", () => { if (follow) toEnd(); });
  });
})();
