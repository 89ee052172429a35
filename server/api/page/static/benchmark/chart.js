// The front of speed against likeness: a point for each setting, a line to its worst prompt, and a line along the front.

import { svg } from "../dom.js";
import { fixed, number, t } from "../i18n.js";
import { front } from "./scores.js";
import { titleOfSetting } from "./plan.js";

const [LEAST_WIDTH, MOST_WIDTH] = [300, 900];
const [LEAST_HEIGHT, RATIO] = [260, 0.5];
const MARGIN = { left: 56, right: 18, top: 14, bottom: 44 };
const LEAST_SPEEDUP = 1.2; // the axis reaches at least so far
const LEAST_LOSS = 0.02;
const PIXELS_OF_A_TICK = 80; // at least

/**
 * The chart of scores, for a place of some `space` in pixels. `choose(score)` is called for a point that is chosen;
 * `chosen` is its setting's name.
 */
export function chart(scores, chosen, choose, space) {
  const width = Math.min(MOST_WIDTH, Math.max(LEAST_WIDTH, space));
  const height = Math.max(LEAST_HEIGHT, RATIO * width);
  const [left, right] = [Math.min(1, ...scores.map((score) => score.speedup.worst)), Math.max(LEAST_SPEEDUP, ...scores.map((score) => score.speedup.mean)) * 1.04];
  const low = Math.min(1 - LEAST_LOSS, ...scores.map((score) => score.ssim.worst));
  const x = (value) => MARGIN.left + ((value - left) / (right - left)) * (width - MARGIN.left - MARGIN.right);
  const y = (value) => MARGIN.top + ((1 - value) / (1 - low)) * (height - MARGIN.top - MARGIN.bottom);
  const best = front(scores);
  const path = [[1, 1], ...best.map((score) => [score.speedup.mean, score.ssim.mean])].map(([speed, ssim], place) => `${place ? "L" : "M"}${x(speed)} ${y(ssim)}`).join("");
  return svg(
    "svg",
    { class: "front", viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": t("benchmark.chart") },
    ticks(left, right, width / PIXELS_OF_A_TICK).map((value) => tickAcross(x(value), value, height)),
    ticks(low, 1, height / PIXELS_OF_A_TICK).map((value) => tickUp(y(value), value, width)),
    svg("text", { class: "axis", x: (width + MARGIN.left) / 2, y: height - 6, "text-anchor": "middle" }, t("benchmark.speedupAxis")),
    svg("text", { class: "axis", x: 14, y: height / 2 - 10, "text-anchor": "middle", transform: `rotate(-90 14 ${height / 2 - 10})` }, t("benchmark.ssimAxis")),
    best.length ? svg("path", { class: "along", d: path }) : null,
    svg("circle", { class: "point start", cx: x(1), cy: y(1), r: 5 }),
    scores.map((score) => point(score, x, y, best.includes(score), score.setting.name === chosen, choose)),
  );
}

function point(score, x, y, best, chosen, choose) {
  const [across, up] = [x(score.speedup.mean), y(score.ssim.mean)];
  const press = (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(score);
  };
  const label = t("benchmark.point", { name: titleOfSetting(score.setting), speedup: fixed(score.speedup.mean, 2), ssim: fixed(score.ssim.mean, 4) });
  return svg(
    "g",
    { class: `setting ${score.setting.family}${best ? " best" : ""}`, role: "button", tabindex: 0, "aria-label": label, "aria-pressed": String(chosen), "data-focus": `point ${score.setting.name}`, onclick: () => choose(score), onkeydown: press },
    svg("title", {}, label),
    svg("line", { class: "worst", x1: across, x2: x(score.speedup.worst), y1: up, y2: y(score.ssim.worst) }),
    svg("circle", { class: "reach", cx: across, cy: up, r: 14 }),
    svg("circle", { class: "point", cx: across, cy: up, r: 6 }),
  );
}

/** Round numbers between two others. */
function ticks(from, to, most) {
  const rough = (to - from) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= rough);
  const found = [];
  for (let value = Math.ceil(from / step - 1e-9) * step; value <= to + 1e-9; value += step) found.push(Number(value.toFixed(6)));
  return found;
}

const tickAcross = (place, value, height) => [
  svg("line", { class: "grid", x1: place, x2: place, y1: MARGIN.top, y2: height - MARGIN.bottom }),
  svg("text", { x: place, y: height - MARGIN.bottom + 18, "text-anchor": "middle" }, `${number(value, 2)}×`),
];

const tickUp = (place, value, width) => [
  svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: place, y2: place }),
  svg("text", { x: MARGIN.left - 8, y: place + 4, "text-anchor": "end" }, number(value, 3)),
];
