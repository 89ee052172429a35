// The tasks of this page: place in the queue, seconds left, preview, steps computed and reused, pictures, errors.

import { imageAddress } from "../api.js";
import { h, iconButton, pictureLink, replace } from "../dom.js";
import { duration, t } from "../i18n.js";
import { announce, showError } from "../messages.js";
import { allTasks, cancel, forget, isOpen, onTasks, secondsLeft } from "../tasks.js";

/** Show the tasks in a container. `open(entry, item)` is called for a picture that is chosen. Returns a close function. */
export function runningView(container, open) {
  const cards = new Map();
  const queue = h("div", { class: "queue", role: "group", tabindex: 0, "aria-label": t("tasks.waiting") });
  const begun = h("div", { class: "cards" });
  const empty = h("p", { class: "muted nothing" }, t("tasks.none"));
  let arranged = "";
  replace(container, empty, queue, begun);

  const card = (entry) => {
    if (!cards.has(entry.taskUUID)) cards.set(entry.taskUUID, makeCard(entry, open));
    return cards.get(entry.taskUUID);
  };
  /** The next one of the queue is on top, and of the others the latest. */
  const arrange = () => {
    const waiting = allTasks().filter(waits).reverse();
    const others = allTasks().filter((entry) => !waits(entry));
    const order = [...waiting, null, ...others].map((entry) => entry?.taskUUID).join();
    if (order === arranged) return;
    arranged = order;
    empty.hidden = allTasks().length > 0;
    queue.hidden = waiting.length === 0;
    replace(queue, waiting.map((entry) => card(entry).element));
    replace(begun, others.map((entry) => card(entry).element));
  };
  const stop = onTasks((entry, change) => {
    arrange();
    if (change === "removed") cards.delete(entry.taskUUID);
    else card(entry).update();
    if (change === "end") announce(t(`tasks.${entry.state}`, { prompt: entry.task.positivePrompt ?? "" }));
  });
  arrange();
  // The seconds that are left go down between two events too.
  const timer = setInterval(() => allTasks().filter(isOpen).forEach((entry) => card(entry).update()), 1000);
  return () => (stop(), clearInterval(timer));
}

const waits = (entry) => entry.state === "sending" || entry.state === "queued";

function makeCard(entry, open) {
  const pictures = h("div", { class: "pictures" });
  const status = h("p", { class: "status small muted" });
  const bar = h("div", { class: "bar", role: "progressbar", "aria-label": t("tasks.progress"), "aria-valuemin": 0, "aria-valuemax": 100 });
  const error = h("p", { class: "bad small" });
  const warnings = h("div", { class: "muted small" });
  const stop = h("button", { type: "button", onclick: () => cancel(entry).catch(showError) }, t("tasks.cancel"));
  const remove = iconButton("close", t("tasks.forget"), () => forget(entry));
  const element = h(
    "article",
    { class: "card panel" },
    pictures,
    h("div", { class: "about" }, h("p", { class: "prompt", title: entry.task.positivePrompt }, entry.task.positivePrompt), bar, h("div", { class: "row" }, h("div", { class: "grow" }, status, error, warnings), stop, remove)),
  );
  const update = () => {
    element.dataset.state = entry.state;
    status.textContent = entry.error ? "" : statusOf(entry);
    error.textContent = entry.error && entry.state !== "cancelled" ? errorOf(entry) : "";
    if (entry.state === "cancelled") status.textContent = t("tasks.state.cancelled");
    replace(warnings, (entry.details?.warnings ?? []).map((warning) => h("p", {}, warning)));
    stop.hidden = !isOpen(entry) || entry.state === "sending";
    stop.disabled = entry.cancelling === true;
    remove.hidden = isOpen(entry);
    bar.hidden = !isOpen(entry) && !entry.steps.length;
    showSteps(bar, entry);
    showPictures(pictures, entry, open);
  };
  update();
  return { element, update };
}

const errorOf = (entry) => (entry.code ? t("error.code", { message: entry.error, code: entry.code }) : entry.error);

/** How far a task is, in words. */
export function statusOf(entry) {
  if (entry.cancelling) return t("tasks.state.cancelling");
  const left = secondsLeft(entry);
  const parts = [];
  if (entry.state === "queued" && entry.place) parts.push(entry.place.position === 0 ? t("tasks.next") : t("tasks.before", { count: entry.place.position }));
  else parts.push(t(`tasks.state.${entry.state}`));
  if (entry.state === "rendering") {
    const index = entry.steps.length;
    if (entry.total) parts.push(t("tasks.step", { step: (entry.steps[index - 1] ?? "").length, steps: entry.total }));
    if ((entry.task.numberResults ?? 1) > 1) parts.push(t("tasks.picture", { index: Math.max(1, index), count: entry.task.numberResults }));
  }
  if (entry.details) parts.push(duration(entry.details.seconds));
  if (left !== undefined) parts.push(t("tasks.left", { time: duration(left) }));
  const reused = entry.steps.join("").split("R").length - 1;
  if (reused) parts.push(t("tasks.reused", { count: reused, all: entry.steps.join("").length }));
  return parts.join(" · ");
}

/** One cell a step: computed, reused, or to come. */
function showSteps(bar, entry) {
  const letters = entry.steps.join("");
  const whole = (entry.total ?? 1) * (entry.task.numberResults ?? 1);
  bar.setAttribute("aria-valuenow", Math.round((100 * letters.length) / whole));
  bar.dataset.waiting = String(letters === "" && isOpen(entry));
  let place = Number(bar.dataset.shown ?? 0);
  if (bar.childElementCount !== whole || letters.length < place) {
    replace(bar, Array.from({ length: whole }, () => h("i"))); // a task that has begun again has fewer steps than before
    place = 0;
  }
  for (; place < letters.length; place += 1) {
    bar.children[place].className = letters[place] === "R" ? "reused" : "computed";
  }
  bar.dataset.shown = String(letters.length);
}

function showPictures(container, entry, open) {
  const shown = `${entry.results.length} ${entry.preview?.length ?? 0} ${entry.preview?.slice(-40) ?? ""}`;
  if (container.dataset.shown === shown) return;
  container.dataset.shown = shown;
  const ready = entry.results.filter((item) => item.imageURL);
  const preview = entry.preview ? h("img", { class: "preview", src: entry.preview, alt: t("tasks.preview") }) : null;
  replace(
    container,
    ready.map((item) => {
      const picture = h("img", { src: imageAddress(item.imageURL), alt: entry.task.positivePrompt ?? "", loading: "lazy" });
      return pictureLink(picture.src, () => open(entry, item), picture);
    }),
    preview,
  );
}
