// From a draft to the task that is sent, its seed, and the model that a picture needs.

import { t } from "./i18n.js";
import { getInfo, modelOf, titleOf } from "./info.js";
import { showNote } from "./messages.js";
import { getDraft, setMember } from "./state.js";

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

export const randomSeed = () => crypto.getRandomValues(new Uint32Array(1))[0];
