// Places for pictures: they take files, pastes, drops and pictures of this page, and are reordered by dragging or keys.

import { h, icon, replace } from "../dom.js";
import { pickImage } from "../gallery/picker.js";
import { t } from "../i18n.js";
import { showError } from "../messages.js";
import { brings, nameOf, offered, remember, takePicture, thumbnail } from "../pictures.js";

const OWN_DRAG = "application/x-ownware-place";

/**
 * A list of pictures. `get()` are their UUIDs, `set(uuids)` changes them, `most` is how many there may be.
 * `take(sources)` of the result adds pictures.
 */
export function pictureSlots({ label, get, set, most }) {
  let waiting = 0;
  const list = h("ol", { class: "slots" });
  const input = h("input", { type: "file", accept: "image/*,.heic,.heif,.avif", multiple: true, class: "unseen", "aria-label": label });
  const text = h("span", {});
  const zone = h("label", { class: "drop" }, input, icon("add"), text);
  const pick = h("button", { type: "button", class: "small", "aria-label": `${t("gallery.pick")}: ${label}`, onclick: () => pickImage().then((image) => image && add(remember(image))) }, t("gallery.pick"));
  const places = h("div", { class: "row places" }, zone, pick);
  const element = h("div", { class: "picture-slots" }, h("p", { class: "label" }, label), list, places);
  const add = (uuid) => set(most() === 1 ? [uuid] : [...get(), uuid]);

  const take = async (sources) => {
    const room = most() === 1 ? 1 : Math.max(0, most() - get().length);
    if (sources.length > room) showError(new Error(t("pictures.tooMany", { most: most() })));
    for (const source of sources.slice(0, room)) {
      waiting += 1;
      update();
      try {
        add(await takePicture(source));
      } catch (error) {
        showError(error);
      } finally {
        waiting -= 1;
        update();
      }
    }
  };
  input.addEventListener("change", () => (take([...input.files]), (input.value = "")));
  acceptDrops(element, take);

  const move = (from, to, focus) => {
    const moved = [...get()];
    moved.splice(to, 0, ...moved.splice(from, 1));
    set(moved);
    list.children[to]?.querySelector(`[data-move="${focus}"]`)?.focus();
  };
  const slot = (uuid, place, all) => {
    const name = nameOf(uuid) || t("pictures.number", { number: place + 1 });
    const button = (kind, label_, onclick, disabled = false) =>
      h("button", { type: "button", class: "quiet square", "aria-label": `${label_}: ${name}`, title: label_, disabled, dataset: { move: kind }, onclick }, icon(kind));
    const item = h(
      "li",
      { class: "slot", draggable: all.length > 1 ? "true" : null },
      thumbnail(uuid, name),
      h(
        "div",
        { class: "slot-tools" },
        all.length > 1 && button("left", t("pictures.earlier"), () => move(place, place - 1, "left"), place === 0),
        all.length > 1 && button("right", t("pictures.later"), () => move(place, place + 1, "right"), place === all.length - 1),
        button("close", t("pictures.remove"), () => set(all.filter((_, other) => other !== place))),
      ),
    );
    item.addEventListener("dragstart", (event) => event.dataTransfer.setData(OWN_DRAG, String(place)));
    item.addEventListener("dragover", (event) => event.dataTransfer.types.includes(OWN_DRAG) && event.preventDefault());
    item.addEventListener("drop", (event) => {
      const from = event.dataTransfer.getData(OWN_DRAG);
      if (from === "") return;
      event.preventDefault();
      event.stopPropagation();
      move(Number(from), place, "left");
    });
    return item;
  };
  const update = () => {
    const all = get();
    replace(list, all.map((uuid, place) => slot(uuid, place, all)), Array.from({ length: waiting }, () => h("li", { class: "slot waiting" }, t("pictures.uploading"))));
    list.hidden = !list.childElementCount;
    places.hidden = all.length + waiting >= most();
    text.textContent = t(all.length ? "pictures.another" : "pictures.drop");
  };
  return { element, update, take };
}

/** Let an element take pictures that are dropped on it. The innermost one that is hit takes them. */
export function acceptDrops(element, take) {
  element.addEventListener("dragover", (event) => {
    if (!brings(event.dataTransfer) || event.dataTransfer.types.includes(OWN_DRAG)) return;
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", (event) => element.contains(event.relatedTarget) || element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    element.classList.remove("over");
    if (event.defaultPrevented || !brings(event.dataTransfer)) return;
    event.preventDefault();
    event.stopPropagation();
    take(offered(event.dataTransfer));
  });
}
