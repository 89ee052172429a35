// Pictures that a draft names by their UUID: taking them in from files, the clipboard and other pages, and showing them.

import { address, checkPicture, dataUri, imageAddress, imageFile, request, sendTask } from "./api.js";
import { h } from "./dom.js";
import { loadInfo } from "./info.js";

const STORED = "ownware.pictures";
const MOST_KEPT = 200;
const OWN_PATH = /^image\/([0-9a-f-]{36})(?:\.\w+|\/thumbnail\.webp)$/i;
const known = new Map(JSON.parse(sessionStorage.getItem(STORED) ?? "[]"));

/** What can be taken from a drop or a paste: files, else the address of a picture. */
export function offered(transfer) {
  const files = [...transfer.files];
  if (files.length) return files;
  const uri = transfer.getData("text/uri-list").split("\n").find((line) => line && !line.startsWith("#"));
  return uri ? [uri.trim()] : [];
}

/** Whether a drag brings something that `offered` will find. */
export const brings = (transfer) => transfer.types.includes("Files") || transfer.types.includes("text/uri-list");

/** The UUID of a file or of an address as a draft names it. What this server has not yet is uploaded. */
export async function takePicture(source) {
  if (typeof source === "string") {
    const uuid = ownImage(source);
    return uuid ?? remember(await upload(source), imageFile(source));
  }
  const { limits } = await loadInfo();
  checkPicture(source, source.name ?? "", limits.bodyBytes);
  return remember(await upload(await dataUri(source)), source.name);
}

/** The UUID in the address of an image of this server. */
function ownImage(url) {
  const base = address("");
  return url.startsWith(base) ? (url.slice(base.length).match(OWN_PATH)?.[1] ?? null) : null;
}

/** Note where an image of a result is, so that it can be shown at once. */
export function remember(item, name = "") {
  known.set(item.imageUUID, { name, file: imageFile(item.imageURL) });
  sessionStorage.setItem(STORED, JSON.stringify([...known].slice(-MOST_KEPT)));
  return item.imageUUID;
}

/** The name that a picture's file had. */
export const nameOf = (uuid) => known.get(uuid)?.name ?? "";

/** A picture of the draft. Of one that came with a link only the UUID is known, so the server is asked for the rest. */
export function thumbnail(uuid, alt) {
  const file = known.get(uuid)?.file;
  const image = h("img", { alt, src: file && imageAddress(file), draggable: false });
  image.addEventListener("error", () => image.classList.add("gone"));
  if (!file) findFile(uuid).then((url) => (image.src = url)).catch(() => image.dispatchEvent(new Event("error")));
  return image;
}

/** The address of the file of a picture, noted for the next time. */
async function findFile(uuid) {
  const { url } = await request(`image/${uuid}`, { method: "HEAD" });
  remember({ imageUUID: uuid, imageURL: url });
  return url;
}

/** A picture once it is there. Of one that has expired, the width and the height are 0. */
export async function loadPicture(uuid, alt = "") {
  const image = thumbnail(uuid, alt);
  await new Promise((resolve) => {
    image.addEventListener("load", resolve, { once: true });
    image.addEventListener("error", resolve, { once: true });
  });
  return image;
}

/** The width and the height of a picture in pixels. */
export async function sizeOf(uuid) {
  const { naturalWidth, naturalHeight } = await loadPicture(uuid);
  return [naturalWidth, naturalHeight];
}

async function upload(image) {
  const [item] = await sendTask({ taskType: "imageUpload", image });
  return item;
}
