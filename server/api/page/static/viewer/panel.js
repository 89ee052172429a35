// What stands beside a picture: its prompt, the buttons, its step cache, its facts, and its receipt as JSON.

import { imageAddress } from "../api.js";
import { h, icon } from "../dom.js";
import { withNumbers } from "../exact.js";
import { t } from "../i18n.js";
import { copyText, showError } from "../messages.js";
import { actionButtons, settingsOf } from "./actions.js";
import { factsOf } from "./facts.js";
import { timeline } from "./timeline.js";

/** The children of the panel of a picture of `loadShown`. `compare()` is called to compare it. */
export function panelOf({ file, answer, entry, item }, compare) {
  const facts = answer ? factsOf(answer, entry?.details?.timings) : [];
  const prompt = answer?.receipt.request.prompt ?? entry?.task.positivePrompt;
  return [
    prompt && h("p", { class: "prompt-text" }, prompt),
    actionButtons(imageAddress(file), entry || answer ? () => settingsOf(entry, item, answer) : null, compare),
    answer && timeline(answer),
    answer ? factList(facts.filter(({ key }) => key !== "prompt")) : h("p", { class: "muted" }, t("viewer.noReceipt")),
    answer && receiptJson(answer),
  ];
}

const factList = (facts) => h("dl", { class: "facts" }, facts.map(({ key, label, text }) => h("div", { dataset: { fact: key } }, h("dt", {}, label), h("dd", {}, text))));

function receiptJson(answer) {
  const text = withNumbers(JSON.stringify(answer, null, 2));
  const copy = h("button", { type: "button", onclick: () => copyText(text).catch(showError) }, icon("copy"), t("copy.copy"));
  return h("details", { class: "fold" }, h("summary", {}, t("viewer.receipt")), h("div", { class: "stack inner" }, h("div", { class: "row end" }, copy), h("pre", { tabindex: 0 }, text)));
}
