// Two pictures compared in words and numbers: what differs in their settings, their times, and how alike they are.

import { readPixels } from "../canvas.js";
import { h, replace } from "../dom.js";
import { number, t } from "../i18n.js";
import { PSNR_OF_EQUALS, likeness } from "../likeness.js";
import { factsOf } from "./facts.js";

const COSTS = ["seconds", "computed"];
/** What differs between any two pictures, and is no setting. */
const NO_SETTINGS = new Set([...COSTS, "saved", "queue", "total", "created"]);

/** The section that compares two pictures of `loadShown`: A, and B beside it. Its buttons call `swap` and `end`. */
export function comparison(shown, other, { swap, end }) {
  const measured = h("p", { class: "small", role: "status" }, t("compare.computing"));
  const section = h(
    "section",
    { class: "comparison stack tight" },
    h("div", { class: "row" }, h("h2", { class: "grow" }, t("compare.title")), h("button", { type: "button", class: "quiet", onclick: swap }, t("compare.swap")), h("button", { type: "button", class: "quiet", onclick: end }, t("compare.end"))),
    factTable(shown, other),
    measured,
  );
  const { base } = shown;
  if (base.width !== other.base.width || base.height !== other.base.height) measured.textContent = t("compare.otherSize");
  else measure(shown, other, measured);
  return section;
}

/** Write how alike they are. It ends when the section is taken away. */
async function measure({ image, base }, other, output) {
  const [one, two] = [readPixels(image, base), readPixels(other.image, base)];
  const found = await likeness(one, two, () => output.isConnected);
  if (!found) return;
  const { psnr, ssim } = found;
  const value = (name, text) => h("span", { dataset: { measure: name } }, text);
  if (psnr === PSNR_OF_EQUALS) replace(output, value("ssim", t("compare.equal")));
  else replace(output, value("ssim", t("compare.ssim", { value: number(ssim, 4) })), " · ", value("psnr", t("compare.psnr", { value: number(psnr, 2) })), h("br"), h("span", { class: "muted" }, t("compare.measures")));
}

/** The costs of both, and each setting that differs. */
function factTable(shown, other) {
  if (!shown.answer || !other.answer) return h("p", { class: "muted small" }, t("compare.noReceipt"));
  const [one, two] = [shown, other].map(({ answer }) => new Map(factsOf(answer).map((fact) => [fact.key, fact])));
  const keys = [...new Set([...one.keys(), ...two.keys()])];
  const differing = keys.filter((key) => !NO_SETTINGS.has(key) && one.get(key)?.text !== two.get(key)?.text);
  const row = (key) =>
    h("tr", { dataset: { compared: key } }, h("th", { scope: "row" }, (one.get(key) ?? two.get(key)).label), [one, two].map((facts) => h("td", {}, facts.get(key)?.text ?? "–")));
  return [
    h("table", {}, h("thead", {}, h("tr", {}, h("td", {}), ["A", "B"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, [...COSTS, ...differing].map(row))),
    differing.length === 0 && h("p", { class: "small" }, t("compare.same")),
  ];
}
