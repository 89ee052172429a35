// A picture of the server with what is known about it: its pixels, its receipt, its task, and the pictures it began with.

import { ApiError, getReceipt, imageAddress, imageUUID, listImages, taskDetails } from "../api.js";
import { h } from "../dom.js";
import { t } from "../i18n.js";
import { draftPart } from "../state.js";
import { allPictures } from "../tasks.js";

const UUID = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/i;
/** Other names of input pictures, which the form does not use. */
const OLDER_NAMES = ["image", "images", "references", "mask"];
const FILE = new RegExp(`^${UUID.source}\\.\\w+$`, "i");

/**
 * The picture of a file's name: `{file, image, base, answer, entry, item}`, or null if it is gone. `base` is its size.
 * `answer` is that of `/v1/receipts`, or null. `entry` and `item` are there if a task of this page made it, or another
 * one of this key that the server still has.
 */
export async function loadShown(file) {
  if (!FILE.test(file)) return null;
  const known = allPictures().find((one) => one.file === file);
  const [image, answer, { entry, item }] = await Promise.all([loadImage(imageAddress(file)), getReceipt(imageUUID(file)), known ?? taskOf(file)]);
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

/** The task of a picture that this page has not sent, as an entry of `tasks.js`. Empty if it is unknown here. */
async function taskOf(file) {
  try {
    const { images } = await listImages({ imageUUID: imageUUID(file) });
    if (!images.length) return {};
    const details = await taskDetails(images[0].taskUUID);
    const [sent] = details.request;
    const task = draftPart(sent);
    if (sent.taskType !== "imageInference" || !isPlain(task)) return {};
    return { entry: { taskUUID: sent.taskUUID, task, details: { timings: details.timings } }, item: { seed: images[0].seed } };
  } catch (error) {
    if (error instanceof ApiError) return {};
    throw error;
  }
}

/** Whether a task of another client is one that the form can show: its pictures stand in `inputs`, and have UUIDs. */
function isPlain({ inputs = {}, controlNet = [], ...task }) {
  const pictures = [inputs.seedImage, inputs.maskImage, ...(inputs.referenceImages ?? []), ...controlNet.map((one) => one.guideImage)];
  const elsewhere = OLDER_NAMES.some((name) => name in inputs) || [...OLDER_NAMES, "seedImage", "maskImage", "referenceImages"].some((name) => name in task);
  return !elsewhere && pictures.filter(Boolean).every(uuidIn);
}

function loadImage(src) {
  const image = h("img", { src });
  return new Promise((resolve) => {
    image.addEventListener("load", () => resolve(image), { once: true });
    image.addEventListener("error", () => resolve(null), { once: true });
  });
}
