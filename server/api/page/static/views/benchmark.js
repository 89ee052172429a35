// The view that measures settings: what is measured on one side, and what was found on the other.

import { imageAddress } from "../api.js";
import { chart } from "../benchmark/chart.js";
import { exportLines } from "../benchmark/export.js";
import { planForm } from "../benchmark/form.js";
import { REFERENCE, titleOfSetting } from "../benchmark/plan.js";
import { discard, getRun, onRun, proceed, runsElsewhere, start, stop } from "../benchmark/runner.js";
import { allScores, front } from "../benchmark/scores.js";
import { h, keepFocus, replace } from "../dom.js";
import { saveBlob } from "../gallery/download.js";
import { duration, fixed, number, t } from "../i18n.js";
import { loadInfo, onInfo } from "../info.js";
import { announce, showError, showNote } from "../messages.js";
import { getDraft, replaceDraft, showForm } from "../state.js";

/** Show the view. Returns a close function. */
export function benchmarkView(container) {
  let chosen = null;
  const form = planForm((plan) => (start(plan), status.element.scrollIntoView({ block: "nearest" })));
  const status = statusPanel();
  const found = h("section", { class: "panel stack", "aria-label": t("benchmark.front") });
  const pictures = h("section", { class: "panel stack", "aria-label": t("benchmark.pictures") });
  const column = h("div", { class: "column" }, status.element, found, pictures);
  replace(container, form.element, column);

  const choose = (score) => {
    chosen = score.setting.name;
    show();
    pictures.scrollIntoView({ block: "nearest" });
  };
  const show = () => {
    const run = getRun();
    const scores = run ? allScores(run) : [];
    found.hidden = !run;
    status.update();
    status.allowExport(scores.length > 0);
    form.update();
    if (run) keepFocus(found, () => showFound(found, scores, chosen, choose));
    showPictures(pictures, run, scores.find((score) => score.setting.name === chosen));
  };
  let before = getRun()?.state;
  const closers = [
    onInfo(() => form.update()),
    onRun((progress) => {
      if (progress) return status.update(progress);
      show();
      const now = getRun()?.state;
      if (before === "running" && now !== "running") loadInfo({ again: true }).catch(showError); // paces were learnt
      if (before === "running" && now === "done") announce(t("benchmark.finished"));
      before = now;
    }),
  ];
  show();
  loadInfo({ again: true }).catch(showError);
  addEventListener("resize", show);
  return () => {
    closers.forEach((close) => close());
    removeEventListener("resize", show);
  };
}

/** The first press asks, and the second one discards. A result that comes between them changes nothing. */
function askToDiscard(button) {
  if (button.dataset.asked) discard().catch(showError);
  else Object.assign(button, { textContent: t("benchmark.discardAll") }).dataset.asked = getRun().state;
}

/** How far the benchmark is, and what can be done with it. */
function statusPanel() {
  const title = h("h2", {});
  const line = h("p", { class: "small muted" });
  const bar = h("progress", { "aria-label": t("benchmark.progress") });
  const error = h("p", { class: "bad" });
  const button = (label, onclick, more = {}) => h("button", { type: "button", onclick, ...more }, t(label));
  const buttons = {
    stop: button("benchmark.stop", () => stop().catch(showError)),
    proceed: button("benchmark.continue", proceed, { class: "primary" }),
    export: button("benchmark.export", () => download().catch(showError)),
    discard: button("benchmark.discard", () => askToDiscard(buttons.discard), { class: "quiet" }),
  };
  const element = h("section", { class: "panel stack", "aria-label": t("benchmark.progress") }, title, bar, line, error, h("div", { class: "row" }, Object.values(buttons)));
  const update = (progress = null) => {
    const run = getRun();
    if (buttons.discard.dataset.asked !== run?.state) {
      delete buttons.discard.dataset.asked;
      buttons.discard.textContent = t("benchmark.discard");
    }
    for (const one of [bar, error, ...Object.values(buttons)]) one.hidden = !run;
    if (!run) {
      title.textContent = t("benchmark.none");
      line.textContent = t("benchmark.noneHint");
      return;
    }
    const elsewhere = runsElsewhere();
    const done = run.tasks.filter((task) => task.state === "done");
    Object.assign(bar, { max: run.tasks.length, value: done.length });
    title.textContent = t(elsewhere ? "benchmark.state.elsewhere" : `benchmark.state.${run.state}`, { done: number(done.length), all: number(run.tasks.length) });
    line.textContent = run.state === "running" && !elsewhere ? nowDoing(run, done, progress) : "";
    line.hidden = line.textContent === "";
    error.textContent = run.error ?? "";
    error.hidden = !run.error;
    buttons.stop.hidden = run.state !== "running" || elsewhere;
    buttons.proceed.hidden = run.state === "done" || (run.state === "running" && !elsewhere);
  };
  return { element, update, allowExport: (can) => (buttons.export.disabled = !can) };
}

function nowDoing(run, done, progress) {
  const task = run.tasks.find((one) => one.state === "sent");
  if (!task) return "";
  const seconds = done.reduce((sum, one) => sum + one.seconds, 0);
  const name = task.kind === "warmUp" ? t("benchmark.warmUp") : titleOf(run, task.setting);
  const parts = [`${name}: ${run.prompts[task.prompt]}`];
  if (progress?.queued) parts.push(t("benchmark.waits"));
  else if (progress?.step) parts.push(t("tasks.step", { step: progress.step, steps: progress.steps }));
  const measured = done.filter((one) => one.kind === "measured");
  if (measured.length) parts.push(t("tasks.left", { time: duration((seconds / done.length) * (run.tasks.length - done.length)) }));
  return parts.join(" · ");
}

const titleOf = (run, name) => (name === REFERENCE ? t("benchmark.reference") : titleOfSetting(run.settings.find((setting) => setting.name === name)));

function showFound(container, scores, chosen, choose) {
  if (!scores.length) {
    replace(container, h("h2", {}, t("benchmark.front")), h("p", { class: "muted" }, t("benchmark.notYet")));
    return;
  }
  const space = container.clientWidth - parseFloat(getComputedStyle(container).paddingInlineStart) * 2;
  const best = front(scores);
  const head = (key) => h("th", { scope: "col", class: key === "setting" || key === "actions" ? null : "number" }, key === "actions" ? h("span", { class: "unseen" }, t("benchmark.actions")) : t(`benchmark.${key}`));
  const cell = (...children) => h("td", { class: "number" }, children);
  const two = ({ mean, worst }, digits, unit = "") => cell(`${fixed(mean, digits)}${unit}`, h("span", { class: "muted" }, ` (${fixed(worst, digits)}${unit})`));
  const rows = [...scores]
    .sort((one, other) => one.speedup.mean - other.speedup.mean)
    .map((score) =>
      h(
        "tr",
        { "aria-selected": score.setting.name === chosen ? "true" : null, class: score.setting.name === chosen ? "chosen" : null },
        h("th", { scope: "row" }, titleOfSetting(score.setting), " ", best.includes(score) ? h("span", { class: "badge", dataset: { state: "done" } }, t("benchmark.best")) : null),
        two(score.speedup, 2, "×"),
        two(score.ssim, 4),
        cell(`${number(score.computed, 1)}/${score.steps}`),
        cell(score.spread ? `${number(100 * score.spread)} %` : "–"),
        h(
          "td",
          {},
          h(
            "div",
            { class: "row" },
            h("button", { type: "button", class: "quiet", dataset: { focus: `pictures ${score.setting.name}` }, onclick: () => choose(score) }, t("benchmark.show")),
            h("button", { type: "button", dataset: { focus: `take ${score.setting.name}` }, onclick: () => take(score.setting) }, t("benchmark.take")),
          ),
        ),
      ),
    );
  const heads = ["setting", "speedup", "ssim", "computed", "spread", "actions"];
  const table = h("table", {}, h("caption", { class: "unseen" }, t("benchmark.table")), h("thead", {}, h("tr", {}, heads.map(head))), h("tbody", {}, rows));
  replace(
    container,
    h("h2", {}, t("benchmark.front")),
    chart(scores, chosen, choose, space),
    h("p", { class: "muted small" }, t("benchmark.legend")),
    h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": t("benchmark.table") }, table),
    h("p", { class: "muted small" }, t("benchmark.honest")),
  );
}

/** The pictures of a setting beside those of the reference. */
function showPictures(container, run, score) {
  container.hidden = !score;
  const shown = score ? `${run.created} ${score.setting.name} ${score.pairs.length}` : "";
  if (!score || container.dataset.shown === shown) return;
  container.dataset.shown = shown;
  const figure = (task, caption) => {
    const address = imageAddress(task.imageURL);
    const image = h("img", { src: address, alt: caption, loading: "lazy" });
    return h("figure", {}, h("a", { href: address, target: "_blank" }, image), h("figcaption", { class: "small muted" }, caption));
  };
  const title = titleOfSetting(score.setting);
  replace(
    container,
    h("h2", {}, title),
    score.pairs.map((pair) =>
      h(
        "div",
        { class: "pair" },
        h("p", {}, pair.prompt),
        figure(pair.reference, `${t("benchmark.reference")} · ${duration(pair.before)}`),
        figure(pair.task, `${title} · ${duration(pair.seconds)} · ${fixed(pair.speedup, 2)}× · SSIM ${fixed(pair.ssim, 4)}`),
      ),
    ),
  );
}

/** Fill the form that makes pictures with a setting, and go there. */
function take({ change }) {
  const { seed, ...common } = getRun().common;
  const { acceleratorOptions, ...draft } = getDraft();
  replaceDraft({ ...draft, ...common, ...change });
  showForm();
}

async function download() {
  const { lines, missing } = await exportLines(getRun());
  if (!lines) throw new Error(t("benchmark.noReceipts"));
  if (missing) showNote(t("benchmark.missing", { count: number(missing) }));
  saveBlob(new Blob([lines], { type: "application/x-ndjson" }), "benchmark.jsonl");
}
