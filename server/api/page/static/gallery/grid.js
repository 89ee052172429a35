// The finished pictures of this key in a grid. More of them come as one scrolls, or by a button.

import { describe, listImages, onApi, thumbnailAddress } from "../api.js";
import { h, replace } from "../dom.js";
import { t } from "../i18n.js";

const PAGE = 48;
const AHEAD = "800px"; // so far below the window the next page is asked for

/** The thumbnail of an image for a tile. It is loaded when it comes near the window, and its size is known before. */
export function tilePicture(image, alt) {
  return h("img", { loading: "lazy", decoding: "async", width: image.width, height: image.height, alt, src: thumbnailAddress(image) });
}

/**
 * A grid of `tile(image)` elements. `snapshot` is what an earlier grid has returned as its own. `root` is the element
 * that scrolls, null for the window. `onCount(images)` is told of each change.
 */
export function imageGrid({ tile, filter, snapshot = null, root = null, onCount = () => {} }) {
  let images = [];
  let cursor = null; // undefined at the end
  let loading = false;
  let failure = null;
  let turn = 0; // an answer to an earlier filter is of no use
  const list = h("ul", { class: "image-grid" });
  const note = h("p", { class: "muted", role: "status" });
  const more = h("button", { type: "button", onclick: () => load() });
  const foot = h("div", { class: "foot-of-grid" }, note, more);
  const element = h("div", {}, list, foot);
  const observer = new IntersectionObserver((seen) => seen.at(-1).isIntersecting && !failure && load(), { root, rootMargin: AHEAD });

  async function load() {
    if (loading || cursor === undefined) return;
    const mine = turn;
    const before = images.length;
    loading = true;
    failure = null;
    show();
    try {
      const page = await listImages({ ...filter, limit: PAGE, cursor });
      if (mine !== turn) return;
      cursor = page.nextCursor;
      add(page.images);
    } catch (error) {
      if (mine === turn) failure = error;
    }
    if (mine !== turn) return;
    loading = false;
    const next = document.activeElement === more ? list.children[before] : null;
    show();
    next?.querySelector("a, button").focus(); // by keys, one goes on with the new ones
    watch();
  }

  /** Be told whether the end of the grid is in sight now, also if it was so before. */
  function watch() {
    observer.unobserve(foot);
    if (cursor !== undefined) observer.observe(foot);
  }

  function add(found, { first = false } = {}) {
    const known = new Set(images.map(({ imageUUID }) => imageUUID));
    const fresh = found.filter(({ imageUUID }) => !known.has(imageUUID));
    images = first ? [...fresh, ...images] : [...images, ...fresh];
    list[first ? "prepend" : "append"](...fresh.map(tile));
  }

  function show() {
    list.setAttribute("aria-busy", String(loading));
    more.hidden = cursor === undefined || (loading && !images.length);
    more.textContent = t(failure ? "gallery.retry" : "gallery.more");
    note.classList.toggle("bad", failure !== null);
    if (failure) note.textContent = describe(failure);
    else if (loading) note.textContent = t("gallery.loading");
    else if (images.length || cursor !== undefined) note.textContent = "";
    else note.textContent = t(filter.model || filter.prompt ? "gallery.noMatch" : "gallery.none");
    onCount(images);
  }

  /** Begin anew with another filter. */
  function setFilter(changed) {
    filter = changed;
    turn += 1;
    [images, cursor, loading, failure] = [[], null, false, null];
    replace(list);
    load();
  }

  /** Add what has been made since, above all others. */
  async function addNewest() {
    const mine = turn;
    const page = await listImages({ ...filter, limit: PAGE });
    if (mine !== turn || loading) return;
    add(page.images, { first: true });
    show();
  }

  function remove(uuids) {
    for (const [place, { imageUUID }] of [...images.entries()].reverse()) if (uuids.has(imageUUID)) list.children[place].remove();
    images = images.filter(({ imageUUID }) => !uuids.has(imageUUID));
    show();
    watch();
  }

  const stop = onApi("connection", ({ detail }) => detail.connected && failure && load());
  if (snapshot) {
    cursor = snapshot.cursor;
    add(snapshot.images);
    show();
    watch();
  } else load();
  return { element, list, setFilter, addNewest, remove, images: () => images, snapshot: () => ({ images, cursor }), close: () => (stop(), observer.disconnect(), (turn += 1)) };
}
