// The view of the server: its devices and memory, models, queue, seconds of a step, versions, and the log of tasks.

import { cancelTask, getJson } from "../api.js";
import { h, keepFocus, replace } from "../dom.js";
import { dateTime, duration, number, t } from "../i18n.js";
import { PIXELS_OF_A_TOKEN, titleOf } from "../info.js";
import { showError } from "../messages.js";

const REFRESH_MILLISECONDS = 3000;
const GIB = 2 ** 30;
const PAGE = 25;

/** Show the view, and keep it up to date. Returns a close function. */
export function serverView(container) {
  const parts = {
    devices: panel(t("server.devices")),
    queue: panel(t("server.queue")),
    models: panel(t("server.models")),
    paces: panel(t("server.paces")),
    versions: panel(t("server.versions")),
  };
  const log = logPanel();
  replace(container, h("h1", { class: "unseen" }, t("nav.server")), grid(parts, log));
  let timer = 0;
  let open = true;
  const refresh = async () => {
    timer = null; // it is under way
    try {
      const [state] = await Promise.all([getJson("v1/server"), log.refresh()]);
      if (open) show(parts, state);
    } catch (error) {
      if (error.status) showError(error);
    }
    timer = open && !document.hidden ? setTimeout(refresh, REFRESH_MILLISECONDS) : 0;
  };
  /** Nobody sees a hidden tab, so it asks for nothing. It is up to date when it is seen again. */
  const turn = () => {
    if (document.hidden) clearTimeout(timer);
    else if (timer !== null) (clearTimeout(timer), refresh());
  };
  document.addEventListener("visibilitychange", turn);
  refresh();
  return () => {
    open = false;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", turn);
  };
}

function panel(title) {
  const body = h("div", { class: "stack scroll", tabindex: 0, role: "region", "aria-label": title });
  return { element: h("section", { class: "panel stack" }, h("h2", {}, title), body), body };
}

function grid({ devices, queue, models, paces, versions }, log) {
  const column = (...parts) => h("div", { class: "column" }, parts.map((part) => part.element));
  return h("div", { class: "server-grid" }, column(devices, queue, paces, versions), column(models, log));
}

function show(parts, state) {
  const models = Object.fromEntries(state.models.map((model) => [model.air.toLowerCase(), titleOf(model)]));
  const name = (air) => models[air?.toLowerCase()] ?? air;
  replace(parts.devices.body, state.status === "ready" ? null : h("p", { class: "bad" }, state.status), state.devices.map((device) => deviceCard(device, name)), state.memory.map(memoryBar));
  replace(parts.queue.body, queueTable(state.queue));
  replace(parts.models.body, modelTable(state));
  replace(parts.paces.body, paceTable(state.paces, name));
  replace(parts.versions.body, table([t("server.package"), t("server.version")], Object.entries(state.versions)));
}

function deviceCard({ name, state, model, plan, taskUUID }, nameOfModel) {
  return h(
    "div",
    { class: "device" },
    h("div", { class: "row" }, h("h3", { class: "grow" }, name), h("span", { class: "badge", dataset: { state } }, t(`server.state.${state}`))),
    h("p", {}, model ? nameOfModel(model) : h("span", { class: "muted" }, t("server.nothingLoaded"))),
    plan && h("p", { class: "muted small" }, plan),
    taskUUID && h("p", { class: "small" }, t("server.ownTask"), " ", h("code", {}, taskUUID)),
  );
}

function memoryBar({ name, total, free }) {
  const used = Math.max(0, total - free);
  const label = `${name === "host" ? t("server.host") : name}: ${t("server.used", { used: number(used / GIB, 1), total: number(total / GIB, 1) })}`;
  return h("div", { class: "stack tight" }, h("p", { class: "small" }, label), h("meter", { min: 0, max: total, value: used, "aria-label": label }));
}

function queueTable({ waiting, limit, keys }) {
  const summary = h("p", {}, t("server.waiting", { waiting: number(waiting), limit: number(limit) }));
  if (!keys.length) return summary;
  const rows = keys.map((key) => [t(key.own ? "server.ownKey" : "server.otherKey"), key.low ? `${number(key.waiting)} (${t("server.lowOfThem", { count: number(key.low) })})` : number(key.waiting), duration(key.seconds)]);
  return [summary, table([t("server.key"), t("server.tasks"), t("server.time")], rows)];
}

function modelTable({ models, devices }) {
  const loaded = new Set(devices.map((device) => device.model?.toLowerCase()));
  return table(
    [t("server.model"), t("server.air"), t("server.pictures"), t("server.steps"), t("server.guidance")],
    models.map((model) => [
      [titleOf(model), " ", model.embedded && h("span", { class: "badge" }, t("server.embedded")), loaded.has(model.air.toLowerCase()) && h("span", { class: "badge", dataset: { state: "idle" } }, t("server.loaded"))],
      h("code", {}, model.air),
      model.references[0] === model.references[1] ? number(model.references[0]) : model.references.join("–"),
      number(model.defaults.steps),
      number(model.defaults.CFGScale, 1),
    ]),
  );
}

function paceTable(paces, name) {
  if (!paces.length) return h("p", { class: "muted" }, t("server.noPaces"));
  const side = (tokens) => Math.round(Math.sqrt((tokens / 2) * PIXELS_OF_A_TOKEN) / 16) * 16;
  return table(
    [t("server.model"), t("server.references"), t("server.size"), t("server.secondsPerStep")],
    paces.map((pace) => [name(pace.model), number(pace.references), `${side(pace.tokens)}²`, number(pace.secondsPerStep, 3)]),
  );
}

/** The log of tasks, a page at a time. */
function logPanel() {
  let offset = 0;
  let asked = 0;
  const body = h("div", { class: "scroll log", tabindex: 0, role: "region", "aria-label": t("server.log") });
  const earlier = h("button", { type: "button", hidden: true, onclick: () => turn(PAGE) }, t("server.earlier"));
  const later = h("button", { type: "button", hidden: true, onclick: () => turn(-PAGE) }, t("server.later"));
  const element = h("section", { class: "panel stack" }, h("h2", {}, t("server.log")), body, h("div", { class: "row end" }, later, earlier));
  const turn = (by) => {
    offset = Math.max(0, offset + by);
    refresh().catch(showError);
  };
  const refresh = async () => {
    const own = (asked += 1);
    const { tasks, total } = await getJson(`v1/server/tasks?limit=${PAGE}&offset=${offset}`);
    if (own !== asked) return; // an answer that was overtaken shows another page
    keepFocus(body, () => replace(body, tasks.length ? logTable(tasks, refresh) : h("p", { class: "muted" }, t("server.noTasks"))));
    earlier.disabled = offset + PAGE >= total;
    later.disabled = offset === 0;
    earlier.hidden = later.hidden = total <= PAGE;
  };
  return { element, refresh };
}

function logTable(tasks, refresh) {
  const stop = (task) => cancelTask(task.taskUUID).then(refresh).catch(showError);
  return table(
    [t("server.when"), t("server.state"), t("server.model"), t("server.prompt"), t("server.images"), t("server.seconds"), t("server.note")],
    tasks.map((task) => [
      dateTime(task.created),
      [h("span", { class: "badge", dataset: { state: task.state } }, t(`server.state.${task.state}`)), task.priority === "low" && h("span", { class: "badge" }, t("server.low"))],
      task.model,
      h("span", { class: "cut", title: task.prompt }, task.prompt),
      `${task.images}/${task.numberResults}`,
      task.seconds ? number(task.seconds, 1) : "",
      [
        task.error && h("p", { class: task.state === "cancelled" ? "muted" : "bad" }, task.error.message),
        task.warnings.map((warning) => h("p", { class: "muted" }, warning)),
        ["queued", "running"].includes(task.state) && h("button", { type: "button", dataset: { focus: task.taskUUID }, onclick: () => stop(task) }, t("tasks.cancel")),
      ],
    ]),
  );
}

function table(heads, rows) {
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell) => h("td", {}, cell))))),
  );
}
