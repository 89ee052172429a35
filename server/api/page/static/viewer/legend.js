// What the brightness of a difference means: how far it is amplified, the level that is full, and the figures.

import { h } from "../dom.js";
import { number, t } from "../i18n.js";

/** The gains to choose from. Each makes another level of 255 full, without a remainder. */
const GAINS = [1, 5, 15, 51];

/** The gain that an address names, or the usual one. */
export const gainOf = (text) => GAINS.find((gain) => String(gain) === text) ?? GAINS[2];

/** The legend of a difference of `differenceOf`. `choose(gain)` is called for another one. */
export function differenceLegend({ largest, mean }, gain, choose) {
  const select = h("select", { dataset: { focus: "gain" }, onchange: () => choose(select.value) }, GAINS.map((value) => h("option", { value, selected: value === gain }, `× ${value}`)));
  const white = number(255 / gain);
  return [
    h("label", { class: "row" }, t("viewer.gain"), select),
    h("div", { class: "scale small", "aria-hidden": "true" }, h("span", {}, "0"), h("i", {}), h("span", {}, white)),
    h("p", { class: "small" }, t("viewer.scale", { white }), " ", t("viewer.figures", { largest: number(largest), mean: number(mean, 2) })),
  ];
}
