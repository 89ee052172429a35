// A picture of the server with what is known about it: its pixels, its receipt, its task, and the pictures it began with.

import { getJson, imageAddress } from "../api.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { allPictures } from "../tasks.js";

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/i;
const FILE = new RegExp(`^${UUID.source}\\.\\w+$`, "i");

/**
 * The picture of a file's name: `{file, image, base, answer, entry, item}`, or null if it is gone. `base` is its size.
 * `answer` is that of `/v1/receipts`, or null. `entry` and `item` are there if a task of this page made it.
 */
export async function loadShown(file) {
  if (!FILE.test(file)) return null;
  const { entry, item } = allPictures().find((one) => one.file === file) ?? {};
  const [image, answer] = await Promise.all([loadImage(imageAddress(file)), receiptOf(file)]);
  if (!image) return null;
  image.alt = answer?.receipt.request.prompt || entry?.task.positivePrompt || t("nav.picture");
  return { file, image, base: { width: image.naturalWidth, height: image.naturalHeight }, answer, entry, item };
}

/**
 * The pictures that a task began with: the one to start from, then its references. `named` is the UUID of one, which
 * a link knows even if the task is not of this page.
 */
export function inputsOf(task, named) {
  const { seedImage, referenceImages = [] } = task?.inputs ?? {};
  const references = referenceImages.map((one, index) => ({ uuid: uuidIn(one), name: referenceImages.length > 1 ? t("viewer.reference", { number: index + 1 }) : t("viewer.before") }));
  const found = [{ uuid: uuidIn(seedImage), name: t("viewer.start"), seed: true }, ...references].filter(({ uuid }) => uuid);
  return found.length || !UUID.test(named ?? "") ? found : [{ uuid: named, name: t("viewer.before"), seed: true }];
}

/** The UUID of an input that names a picture of the server. Data URIs name none. */
const uuidIn = (input) => (typeof input === "string" && input.length < 200 ? input.match(UUID)?.[0] : undefined);

function loadImage(src) {
  const image = h("img", { src });
  return new Promise((resolve) => {
    image.addEventListener("load", () => resolve(image), { once: true });
    image.addEventListener("error", () => resolve(null), { once: true });
  });
}

/** The receipt of a file, or null: the server forgets it after a week, and uploaded pictures have none. */
async function receiptOf(file) {
  try {
    return await getJson(`v1/receipts/${file.split(".")[0]}`);
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}
