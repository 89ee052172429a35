// The decisions of a step cache: step by branch what was computed and reused, and the scores against the threshold.

import { h, svg } from "../dom.js";
import { duration, number, t } from "../i18n.js";
import { withEvaluations } from "../receipts.js";

const WIDTH = 360;
const MARGIN = { left: 58, right: 8, top: 8 };
const PLOT = 104;
const ROW = 12;
const MOST_THRESHOLDS = 4; // higher scores are marked at the upper edge

/** The timeline of an answer of `/v1/receipts`, or null if no cache was on. */
export function timeline({ receipt, cache }) {
  if (!cache?.forwards.length) return null;
  const { threshold } = receipt.request.cache;
  const forwards = withValues(cache.forwards);
  const summary = t("timeline.summary", { reused: cache.reusedSteps, all: cache.steps, seconds: duration(cache.secondsSaved) });
  return h(
    "section",
    { class: "timeline stack tight" },
    h("h2", {}, t("timeline.title")),
    h("p", { class: "small" }, summary),
    plotOf(forwards, threshold, summary),
    h("p", { class: "row keys small muted" }, KEYS.filter(({ used }) => used(forwards)).map(({ name }) => key(name, name === "threshold" ? number(threshold, 3) : ""))),
    h("details", {}, h("summary", { class: "small" }, t("timeline.table")), h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("timeline.table") }, table(forwards))),
  );
}

/**
 * The forwards with the `value` to plot: the score, or where this is the distance itself, the distance of one that had
 * to be computed.
 */
function withValues(forwards) {
  const same = forwards.every(({ score, distance }) => score === null || score === distance);
  return withEvaluations(forwards).map((forward) => ({ ...forward, value: forward.score ?? (same ? forward.distance : null) }));
}

const isForced = ({ reused, score }) => !reused && score === null;
const measured = (forwards) => forwards.some(({ score }) => score !== null);
const KEYS = [
  { name: "computed", used: () => true },
  { name: "reused", used: () => true },
  { name: "forced", used: (forwards) => forwards.some((forward) => isForced(forward) && forward.value !== null) },
  { name: "threshold", used: measured },
];
const key = (name, value) => h("span", { class: `key ${name}` }, h("i", { "aria-hidden": "true" }), t(`timeline.${name}`), " ", value);

function plotOf(forwards, threshold, label) {
  const steps = Math.max(...forwards.map(({ step }) => step)) + 1;
  const evaluations = Math.max(...forwards.map(({ evaluation }) => evaluation)) + 1;
  const branches = [...new Set(forwards.map(({ branch }) => branch))];
  const cell = (WIDTH - MARGIN.left - MARGIN.right) / steps / evaluations;
  const x = ({ step, evaluation }) => MARGIN.left + (step * evaluations + evaluation) * cell;
  const plot = measured(forwards) ? PLOT : 0;
  const below = MARGIN.top + plot + (plot ? 8 : 0);
  const height = below + branches.length * ROW + 16;
  const row = (branch) => below + branches.indexOf(branch) * ROW;
  return svg(
    "svg",
    { class: "decisions", viewBox: `0 0 ${WIDTH} ${height}`, role: "img", "aria-label": label },
    plot > 0 ? scores(forwards, threshold, branches, (forward) => x(forward) + cell / 2) : null,
    branches.map((branch) => svg("text", { class: "name", x: MARGIN.left - 6, y: row(branch) + ROW - 4 }, t(`timeline.${branch}`))),
    forwards.map((forward) => cellOf(forward, x(forward), row(forward.branch), cell)),
    ticks(steps).map((step) => svg("text", { class: "tick", x: x({ step, evaluation: 0 }) + (cell * evaluations) / 2, y: height - 3 }, number(step + 1))),
  );
}

/** A reused cell is lower than a computed one, so that nobody needs the colors. */
function cellOf(forward, x, y, width) {
  const [top, height] = forward.reused ? [y + 5, ROW - 8] : [y + 1, ROW - 4];
  return svg("rect", { class: forward.reused ? "reused" : "computed", x: x + 0.5, y: top, width: Math.max(1, width - 1), height }, svg("title", {}, sentence(forward)));
}

/** The scores of each branch as a line of points, and the threshold. */
function scores(forwards, threshold, branches, x) {
  const shown = forwards.filter(({ value }) => value !== null);
  const highest = Math.max(...shown.map(({ value }) => value));
  const top = threshold > 0 ? Math.min(Math.max(highest, 1.5 * threshold), MOST_THRESHOLDS * threshold) : highest || 1;
  const y = (number_) => MARGIN.top + PLOT * (1 - Math.min(1, number_ / top));
  const place = (forward) => `${x(forward).toFixed(1)},${y(forward.value).toFixed(1)}`;
  const text = (number_, at) => svg("text", { class: "name", x: MARGIN.left - 6, y: at + 3 }, number(number_, 2));
  const apart = Math.abs(y(threshold) - MARGIN.top) > 10 && Math.abs(y(threshold) - MARGIN.top - PLOT) > 10;
  return [
    svg("path", { class: "axis", d: `M${MARGIN.left} ${MARGIN.top}V${MARGIN.top + PLOT}H${WIDTH - MARGIN.right}` }),
    text(top, MARGIN.top),
    text(0, MARGIN.top + PLOT),
    apart && text(threshold, y(threshold)),
    svg("path", { class: "threshold", d: `M${MARGIN.left} ${y(threshold)}H${WIDTH - MARGIN.right}` }),
    branches.map((branch) => svg("polyline", { class: `scores ${branch}`, points: shown.filter((forward) => forward.branch === branch).map(place).join(" ") })),
    shown.map((forward) => svg("path", { class: `point ${forward.reused ? "reused" : "computed"}${isForced(forward) ? " forced" : ""}`, d: pointAt(x(forward), y(forward.value), forward.value > top) }, svg("title", {}, sentence(forward)))),
  ];
}

/** A dot, or a triangle for what lies above the upper edge. */
const pointAt = (x, y, above) => (above ? `M${x - 3.5} ${y + 3}h7l-3.5 -6z` : `M${x - 2.5} ${y}a2.5 2.5 0 105 0a2.5 2.5 0 10-5 0`);

/** The steps whose number is written: the first one, and each fifth or tenth. */
function ticks(steps) {
  const every = steps > 30 ? 10 : 5;
  return Array.from({ length: steps }, (_, step) => step).filter((step) => step === 0 || (step + 1) % every === 0);
}

function sentence(forward) {
  const parts = [t("timeline.step", { step: forward.step + 1 }), t(`timeline.${forward.branch}`), t(`timeline.reason.${forward.reason}`)];
  if (forward.score !== null) parts.push(`${t("timeline.score")} ${number(forward.score, 4)}`);
  return parts.join(" · ");
}

function table(forwards) {
  const several = forwards.some(({ evaluation }) => evaluation > 0);
  const heads = ["number", "branch", several && "evaluation", "decision", "distance", "score"].filter(Boolean);
  const measure = (value) => (value === null ? "" : number(value, 4));
  const cells = (forward) => [
    forward.step + 1,
    t(`timeline.${forward.branch}`),
    ...(several ? [forward.evaluation + 1] : []),
    t(`timeline.reason.${forward.reason}`),
    measure(forward.distance),
    measure(forward.score),
  ];
  return h(
    "table",
    {},
    h("caption", { class: "unseen" }, t("timeline.title")),
    h("thead", {}, h("tr", {}, heads.map((name) => h("th", { scope: "col" }, t(`timeline.${name}`))))),
    h("tbody", {}, forwards.map((forward) => h("tr", { dataset: { reused: String(forward.reused) } }, cells(forward).map((cell) => h("td", {}, cell))))),
  );
}
