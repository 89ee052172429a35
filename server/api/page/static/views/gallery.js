// The gallery: all finished pictures of this key, to be found, chosen, downloaded, edited and deleted.

import { deleteImage, imageAddress, imageFile, onApi } from "../api.js";
import { h, icon, pictureLink, replace } from "../dom.js";
import { addReferences, editPictures } from "../drafts.js";
import { download } from "../gallery/download.js";
import { imageFilters } from "../gallery/filters.js";
import { imageGrid, tilePicture } from "../gallery/grid.js";
import { dateTime, duration, number, t } from "../i18n.js";
import { loadInfo, modelOf, onInfo, titleOf } from "../info.js";
import { announce, ask, showError, showNote } from "../messages.js";
import { workers } from "../parallel.js";
import { showForm } from "../state.js";
import { onTasks } from "../tasks.js";
import { openPicture } from "./picture.js";

const SOON_SECONDS = 86_400;
// What was shown when the view was left, so that the way back from a picture leads to the same place.
let left = null;
onApi("key", () => (left = null));

/** Show the view. The parameters of the address are its filter. Returns a close function. */
export function galleryView(container, parameters) {
  const filter = Object.fromEntries(["prompt", "model"].map((name) => [name, parameters.get(name)]).filter(([, value]) => value));
  const chosen = new Map(); // images by their UUID
  let last = null; // the place from which a shift-click reaches
  const bar = h("div", { class: "row panel chosen", role: "region", "aria-label": t("gallery.chosen"), hidden: true });
  const count = h("p", { class: "muted small" });
  const all = h("button", { type: "button", class: "quiet", onclick: () => choose(new Set(grid.images().map(({ imageUUID }) => imageUUID))) }, t("gallery.chooseAll"));
  const grid = imageGrid({
    tile,
    filter,
    snapshot: left && left.filter === JSON.stringify(filter) ? left : null,
    onCount: (images) => {
      count.textContent = t("gallery.count", { count: number(images.length) });
      count.hidden = all.hidden = images.length === 0;
    },
  });
  const filters = imageFilters(filter, (changed) => {
    Object.keys(filter).forEach((name) => delete filter[name]);
    Object.assign(filter, changed);
    history.replaceState(null, "", addressOf(filter));
    choose(new Set());
    grid.setFilter({ ...filter });
  });
  replace(container, h("h1", { class: "unseen" }, t("nav.gallery")), h("div", { class: "row head-of-gallery" }, filters.element, h("div", { class: "row" }, count, all)), grid.element, bar);

  function tile(image) {
    const address = imageAddress(image.imageURL);
    const picture = tilePicture(image, image.prompt);
    picture.addEventListener("error", () => element.classList.add("gone"));
    const box = h("input", { type: "checkbox", "aria-label": t("gallery.choose", { prompt: image.prompt, seed: image.seed }), checked: chosen.has(image.imageUUID) });
    box.addEventListener("click", (event) => chooseOne(image, box.checked, event.shiftKey));
    const link = pictureLink(address, () => open(image), picture);
    const line = (text, className) => h("p", { class: `small ${className}`, title: text }, text);
    const element = h("li", { class: "tile", dataset: { image: image.imageUUID } }, link, box, line(image.prompt || t("gallery.noPrompt"), ""), line(aboutOf(image), "muted about"), line(timeOf(image), "muted"));
    return element;
  }

  const open = (image) => openPicture(image.imageURL, { among: grid.images().map(({ imageURL }) => imageFile(imageURL)) });

  /** With shift, all from the one before up to this one. */
  function chooseOne(image, on, range) {
    const images = grid.images();
    const [place, from] = [images.indexOf(image), images.indexOf(last)];
    const reached = range && from >= 0 ? images.slice(Math.min(place, from), Math.max(place, from) + 1) : [image];
    const wanted = new Set(chosen.keys());
    for (const { imageUUID } of reached) if (on) wanted.add(imageUUID);
      else wanted.delete(imageUUID);
    last = image;
    choose(wanted);
  }

  function choose(uuids) {
    chosen.clear();
    for (const image of grid.images()) if (uuids.has(image.imageUUID)) chosen.set(image.imageUUID, image);
    for (const element of grid.list.children) element.querySelector("input").checked = chosen.has(element.dataset.image);
    showBar();
  }

  function showBar() {
    bar.hidden = chosen.size === 0;
    const button = (name, label, action) => h("button", { type: "button", dataset: { focus: name }, onclick: () => action([...chosen.values()]) }, icon(name), label);
    replace(
      bar,
      h("p", { class: "grow", role: "status" }, t("gallery.chosenCount", { count: number(chosen.size) })),
      button("download", t("shell.download"), saveAll),
      chosen.size === 1 && button("edit", t("shell.edit"), (images) => toForm(editPictures, images)),
      button("add", t("gallery.reference"), (images) => toForm(addReferences, images)),
      button("delete", t("gallery.delete"), removeAll),
      h("button", { type: "button", class: "quiet", onclick: () => choose(new Set()) }, t("gallery.chooseNone")),
    );
  }

  async function saveAll(images) {
    const text = bar.querySelector("[role=status]");
    const show = (done) => (text.textContent = t("gallery.downloading", { done: number(done), count: number(images.length) }));
    bar.querySelectorAll("button").forEach((button) => (button.disabled = true));
    try {
      const gone = await download(images, show);
      if (gone) showNote(t("gallery.gone", { count: number(gone) }));
    } catch (error) {
      showError(error instanceof RangeError ? new Error(t("gallery.tooLarge")) : error);
    }
    showBar();
  }

  async function removeAll(images) {
    const title = images.length === 1 ? t("gallery.deleteOne") : t("gallery.deleteMany", { count: number(images.length) });
    if (!(await ask({ title, text: t("gallery.deleteText"), action: t("gallery.delete") }))) return;
    const gone = new Set();
    const remove = async ({ imageUUID }) => {
      await deleteImage(imageUUID);
      gone.add(imageUUID);
    };
    const ends = await Promise.allSettled(workers(images, remove));
    const place = grid.images().findIndex(({ imageUUID }) => gone.has(imageUUID));
    grid.remove(gone);
    choose(new Set([...chosen.keys()].filter((uuid) => !gone.has(uuid))));
    const failed = ends.find(({ status }) => status === "rejected");
    if (failed) showError(failed.reason);
    announce(t("gallery.deleted", { count: number(gone.size) }));
    const next = grid.list.children[Math.min(Math.max(place, 0), grid.list.childElementCount - 1)];
    (next?.querySelector("a") ?? filters.element.querySelector("input")).focus();
  }

  function toForm(use, images) {
    loadInfo()
      .then(() => use(images))
      .then(showForm)
      .catch(showError);
  }

  const addNewest = () => grid.addNewest().catch(() => {}); // the banner says that the server does not answer
  const stop = onTasks((entry, change) => change === "end" && entry.results.length && addNewest());
  const showNames = () => {
    for (const [place, image] of grid.images().entries()) grid.list.children[place].querySelector(".about").textContent = aboutOf(image);
  };
  const stopNames = onInfo(showNames);
  const keys = (event) => {
    if (event.key !== "Delete" || !chosen.size || event.target.matches("input[type=search]") || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    removeAll([...chosen.values()]);
  };
  container.addEventListener("keydown", keys);
  loadInfo().catch(showError);
  if (left) addNewest();
  return () => {
    left = { filter: JSON.stringify(filter), ...grid.snapshot() };
    stop();
    stopNames();
    filters.close();
    grid.close();
  };
}

const addressOf = (filter) => `#/gallery${Object.keys(filter).length ? `?${new URLSearchParams(filter)}` : ""}`;

const aboutOf = ({ model, width, height }) => `${nameOf(model)} · ${width} × ${height}`;

function nameOf(model) {
  const known = modelOf({ model });
  return known ? titleOf(known) : model;
}

function timeOf({ created, expires }) {
  const seconds = expires === undefined ? Infinity : expires - Date.now() / 1000;
  const parts = [dateTime(created)];
  if (seconds < SOON_SECONDS) parts.push(t("gallery.left", { time: duration(Math.max(0, seconds)) }));
  return parts.join(" · ");
}
