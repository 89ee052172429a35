// The view of one picture: large, beside the one it began with or another one, with its receipt, and what can be done.

import { imageFile } from "../api.js";
import { readPixels } from "../canvas.js";
import { h, iconButton, keepFocus, replace } from "../dom.js";
import { number, t } from "../i18n.js";
import { loadInfo, onInfo } from "../info.js";
import { showError } from "../messages.js";
import { loadPicture } from "../pictures.js";
import { showForm, writeAddress } from "../state.js";
import { allPictures, allTasks, onTasks } from "../tasks.js";
import { openCompareDialog } from "../viewer/compare_dialog.js";
import { comparison } from "../viewer/comparison.js";
import { differenceLegend, gainOf } from "../viewer/legend.js";
import { panelOf } from "../viewer/panel.js";
import { differenceOf } from "../viewer/pixels.js";
import { inputsOf, loadShown } from "../viewer/shown.js";
import { ZOOM_STEP, createStage, layer } from "../viewer/stage.js";
import { contained } from "../viewer/viewport.js";
import { statusOf } from "./running.js";

const MODES = ["single", "slider", "side", "difference"];
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
const PAN_PIXELS = 60;
let sequence = null;

/**
 * Open the view of a picture by its URL or the name of its file. `among` are the files that the arrow keys go through:
 * those of this page's tasks, if none are given.
 */
export function openPicture(url, { among = null } = {}) {
  writeAddress();
  sequence = among;
  history.pushState({ within: true }, "", addressOf({ image: imageFile(url) }));
  dispatchEvent(new HashChangeEvent("hashchange"));
}

/**
 * Show the view. The address has the `image`; the one `before` it, the picture `with` which it is compared, or the `task`
 * that renders this one; the `mode` and the `gain`. Returns a close function.
 */
export function pictureView(container, parameters) {
  let open = true;
  let chosen = Object.fromEntries(parameters);
  let shown = null; // of `loadShown`
  let other = null; // the layer that it is compared with, and its `input`, or what is `shown` of picture B
  let lost = false; // the server did not answer
  let inComparison = null; // picture B of the section that compares
  const percent = h("output", { class: "number small" });
  const stage = createStage({ onView: (view) => (percent.textContent = `${number(view.percent)} %`) });
  const place = h("span", { class: "muted small place" });
  const turns = [iconButton("left", t("viewer.previous"), () => turn(-1)), iconButton("right", t("viewer.next"), () => turn(1))];
  const compared = h("div", { class: "row compared" });
  const legend = h("div", { class: "legend" });
  const comparing = h("div", { hidden: true });
  const panel = h("aside", { class: "stack about", "aria-label": t("viewer.about") });
  const zoom = [
    iconButton("minus", t("viewer.smaller"), () => stage.zoomBy(1 / ZOOM_STEP)),
    percent,
    iconButton("add", t("viewer.larger"), () => stage.zoomBy(ZOOM_STEP)),
    iconButton("fit", t("viewer.fit"), () => stage.fit()),
    h("button", { type: "button", class: "quiet actual", title: t("viewer.actual"), onclick: () => stage.actual() }, "100 %"),
  ];
  const bar = h("div", { class: "row bar-of-stage" }, h("div", { class: "row" }, turns, place), compared, h("div", { class: "row" }, zoom, iconButton("close", t("viewer.close"), leave)));
  replace(container, h("h1", { class: "unseen" }, t("nav.picture")), h("div", { class: "looking" }, bar, stage.element, legend), panel);

  async function load() {
    const mine = chosen;
    shown = other = null;
    lost = false;
    showPlace();
    stage.element.setAttribute("aria-busy", "true");
    const loaded = await loadShown(chosen.image ?? "").catch((error) => {
      lost = open && mine === chosen;
      throw error;
    });
    if (!open || mine !== chosen) return;
    stage.element.removeAttribute("aria-busy");
    shown = loaded;
    if (shown) return showAll();
    for (const part of [panel, comparing, compared, legend]) replace(part);
    stage.clear(h("p", { class: "gone muted" }, t("viewer.gone")));
  }

  async function showAll() {
    showPanel();
    await compare();
  }

  const showPanel = () => replace(panel, comparing, panelOf(shown, askForOther));

  /** Load what it is compared with, if there is something, and show both as the address says. */
  async function compare() {
    const mine = chosen;
    const inputs = inputsOf(shown.entry?.task, chosen.before);
    const found = await (chosen.with ? loadB() : loadBefore(inputs));
    if (!open || mine !== chosen) return;
    other = found;
    keepFocus(compared, () => replace(compared, other && modeButtons(), other?.input && inputs.length > 1 && sourceSelect(inputs)));
    showStage();
    showComparison();
  }

  async function loadBefore(inputs) {
    const input = inputs.find(({ uuid }) => uuid === chosen.before) ?? inputs[0];
    if (input && other?.input?.uuid === input.uuid) return other;
    const before = input ? await loadPicture(input.uuid, input.name) : null;
    return before?.naturalWidth ? { input, ...layer(before, input.name, boxOf(before, input)) } : null;
  }

  async function loadB() {
    if (other?.shown?.file === chosen.with) return other;
    const found = await loadShown(chosen.with);
    if (!found) showError(new Error(t("viewer.gone")));
    return found && { shown: found, ...layer(found.image, "B", contained(found.base, shown.base)) };
  }

  function showComparison() {
    const next = other?.shown ?? null;
    if (next !== inComparison) replace(comparing, next && comparison(shown, next, { swap, end: () => change({ image: chosen.image }, compare) }));
    inComparison = next;
    showWaiting();
  }

  /** How far the task is that renders picture B. When it is done, the two are compared. */
  function showWaiting() {
    const entry = chosen.task && allTasks().find(({ taskUUID }) => taskUUID === chosen.task);
    comparing.hidden = !entry && !other?.shown;
    if (!entry) return;
    const file = allPictures().find((one) => one.entry === entry)?.file;
    if (entry.state === "done" && file) change({ image: chosen.image, with: file }, compare);
    else replace(comparing, h("p", { class: entry.error ? "bad" : "muted" }, entry.error ?? t("compare.waiting", { state: statusOf(entry) })));
  }

  const askForOther = () =>
    openCompareDialog(shown, {
      pick: (file) => change({ image: chosen.image, with: file }, compare),
      sent: (entry) => change({ image: chosen.image, task: entry.taskUUID }, compare),
    });
  const swap = () => change({ ...chosen, image: chosen.with, with: chosen.image }, load);

  /** Where the picture before it lies in this one: within the sides that were added to it, else as large as it can be. */
  function boxOf(before, input) {
    const outpaint = input.seed ? shown.answer?.receipt.request.outpaint : null;
    if (!outpaint) return contained({ width: before.naturalWidth, height: before.naturalHeight }, shown.base);
    const { top, right, bottom, left } = outpaint;
    return { x: left, y: top, width: shown.base.width - left - right, height: shown.base.height - top - bottom };
  }

  const modeNow = () => {
    if (!other) return "single";
    return MODES.includes(chosen.mode) ? chosen.mode : other.shown ? "side" : "single";
  };

  function showStage() {
    const { base, image } = shown;
    const mode = modeNow();
    const one = layer(image, other?.shown ? "A" : t("viewer.after"));
    const [left, right] = other?.shown ? [one, other] : [other, one];
    const gain = gainOf(chosen.gain);
    const difference = mode === "difference" ? differenceOf(readPixels(image, base), readPixels(other.picture, base, other.box), gain) : null;
    stage.show({ mode, base, main: one, left, right, difference: difference && layer(difference.canvas, "") });
    keepFocus(legend, () => replace(legend, difference && differenceLegend(difference, gain, (value) => choose({ gain: value }))));
  }

  function modeButtons() {
    const button = (name) => h("button", { type: "button", class: "chip", dataset: { focus: name }, "aria-pressed": String(name === modeNow()), onclick: () => choose({ mode: name }) }, t(`viewer.mode.${name}`));
    return h("div", { class: "row modes", role: "group", "aria-label": t("viewer.mode") }, MODES.map(button));
  }

  function sourceSelect(inputs) {
    const options = inputs.map(({ uuid, name }) => h("option", { value: uuid, selected: uuid === other.input.uuid }, name));
    const select = h("select", { "aria-label": t("viewer.against"), dataset: { focus: "source" }, onchange: () => choose({ before: select.value }) }, options);
    return select;
  }

  /** The sequence's files, and the place of this picture in it; -1 if it is not there. */
  const placeNow = () => {
    const files = sequence ?? allPictures().map(({ file }) => file);
    return [files, files.indexOf(chosen.image)];
  };
  const neighbour = ([files, index], by) => (index < 0 ? undefined : files[index + by]);

  function showPlace() {
    const now = placeNow();
    const [files, index] = now;
    turns.forEach((button, which) => (button.disabled = neighbour(now, which ? 1 : -1) === undefined));
    place.textContent = index < 0 ? "" : t("viewer.place", { index: index + 1, count: files.length });
  }

  /** Show the next picture of the sequence, or the one before it. */
  function turn(by) {
    const next = neighbour(placeNow(), by);
    if (next !== undefined) change({ image: next }, load);
  }

  const choose = (part) => change({ ...chosen, before: other?.input?.uuid, ...part }, compare);

  function change(next, show) {
    chosen = Object.fromEntries(Object.entries(next).filter(([, value]) => value !== undefined));
    history.replaceState(history.state, "", addressOf(chosen));
    show().catch(showError);
  }

  const keys = (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") leave();
    else if (!event.target.closest("input, select, textarea, pre, [role=slider]") && act(event.key)) event.preventDefault();
  };
  /** Do what a key stands for. The arrow keys move a picture that is larger than the stage, and else turn the pages. */
  const act = (key) => {
    if (key === "+" || key === "=") stage.zoomBy(ZOOM_STEP);
    else if (key === "-") stage.zoomBy(1 / ZOOM_STEP);
    else if (key === "0") stage.fit();
    else if (key === "1") stage.actual();
    else if (ARROWS[key] && stage.isLarger()) stage.panBy(ARROWS[key][0] * PAN_PIXELS, ARROWS[key][1] * PAN_PIXELS);
    else if (key === "ArrowLeft" || key === "ArrowRight") turn(key === "ArrowLeft" ? -1 : 1);
    else return false;
    return true;
  };

  /** Back to where the picture was chosen, with the focus on it; from a link, to the form. */
  function leave() {
    const file = chosen.image;
    if (!history.state?.within) return showForm();
    addEventListener("hashchange", () => document.querySelector(`a[href$="/${CSS.escape(file)}"]`)?.focus(), { once: true });
    history.back();
  }

  addEventListener("keydown", keys);
  const follow = (entry, kind) => {
    if (kind !== "progress") showPlace();
    if (shown && kind === "details" && entry === shown.entry) showPanel();
    if (shown) showWaiting();
  };
  // What the server offers is asked for again when it answers again.
  const answered = () => {
    if (shown) showPanel();
    else if (lost) load().catch(showError);
  };
  const closers = [onInfo(answered), onTasks(follow), stage.close];
  loadInfo().catch(showError);
  load().catch(showError);
  return () => {
    open = false;
    removeEventListener("keydown", keys);
    closers.forEach((close) => close());
  };
}

const addressOf = (chosen) => `#/picture?${new URLSearchParams(chosen)}`;
