// From a draft to the task that is sent, its seed, and the model that a picture needs.

import { t } from "./i18n.js";
import { getInfo, modelOf, titleOf } from "./info.js";
import { showError, showNote } from "./messages.js";
import { remember } from "./pictures.js";
import { getDraft, member, replaceDraft, setMember } from "./state.js";

/** The task of a draft: with the model that is shown, and the size that text to image needs. */
export function completeTask(draft) {
  const model = modelOf(draft);
  const { width, height } = model?.defaults ?? {};
  const sized = draft.outpaint || !width;
  return { ...(model && { model: model.air }), ...(!sized && { width, height }), ...draft };
}

/** Choose a model that edits pictures, unless the draft has one. Throws if there is none. */
export function chooseEditor() {
  if (modelOf(getDraft())?.references[1]) return;
  const editor = getInfo().models.find((model) => model.references[1] > 0);
  if (!editor) throw new Error(t("pictures.noEditor"));
  setMember("model", editor.air);
  showNote(t("pictures.switched", { model: titleOf(editor) }));
}

/** Edit a picture from now on: what belongs to the one before goes; the model, if it edits, and the options stay. */
export function editPictures([image]) {
  const { positivePrompt, inputs, width, height, outpaint, maskMargin, seed, ...kept } = getDraft();
  replaceDraft(kept);
  addReferences([image]);
}

/** Add pictures, each with its `imageUUID` and `imageURL`, to the references of the draft, as many as its model takes. */
export function addReferences(images) {
  chooseEditor();
  const uuids = [...(member("inputs.referenceImages") ?? []), ...images.map((image) => remember(image))];
  const most = modelOf(getDraft()).references[1];
  if (uuids.length > most) showError(new Error(t("pictures.tooMany", { most })));
  setMember("inputs.referenceImages", uuids.slice(0, most));
}

/** Fill the form with settings, and say so. `missing` is the number of input pictures that they cannot have. */
export function fillForm({ draft, missing }, text) {
  replaceDraft(draft);
  showNote(missing ? `${text} ${t("receipt.missing", { count: missing })}` : text);
}

export const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];
