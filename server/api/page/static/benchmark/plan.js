// What a benchmark measures: its prompts, its settings, and its tasks in their order. Knows no server.

import { CACHES } from "../form/caches.js";
import { t } from "../i18n.js";
import { PIXELS_OF_A_TOKEN } from "../info.js";

/** The setting that all others are compared with. */
export const REFERENCE = "reference";
const WARM_UP_STEPS = 2;
const GIVEN = {
  embedded: [
    "a large red circle at the top left on a blue background",
    "gray background, a large yellow triangle at the right",
    "黄色背景，中央有一个大蓝色星形",
    'a large blue square at the top and the word "OPEN" in red at the bottom on a white background',
  ],
  full: [
    "A red fox asleep in the snow under a fir tree, telephoto, soft morning light",
    "Portrait of a young violinist with freckles, studio light, dark green backdrop, 85 mm",
    "老街茶馆的木质招牌，上面写着“清风茶舍”，红灯笼，雨后的石板路",
    'A handwritten recipe card on a kitchen table, titled "Lemon Cake", with the line "bake 40 minutes" below',
  ],
};

/** Prompts that suit a model. */
export const givenPrompts = (model) => GIVEN[model?.embedded ? "embedded" : "full"];

/** The numbers of a text such as `0.1, 0.25`, or null if something else is in it or a number is out of its bounds. */
export function readNumbers(text, { min, max, whole = false }) {
  const parts = text.split(/[\s,;、，；]+/).filter(Boolean).map(Number);
  const good = parts.every((part) => part >= min && part <= max && (!whole || Number.isInteger(part)));
  return good ? [...new Set(parts)] : null;
}

/**
 * The settings of a choice: `thresholds` has a list for each cache, `fewer` the numbers of steps, and `options` the
 * members that all caches share. A setting has a `name`, and the `change` that it makes to a task.
 */
export function settingsOf({ thresholds, fewer, options }) {
  const caches = Object.entries(CACHES).flatMap(([cache, { knob }]) =>
    (thresholds[cache] ?? []).map((value) => {
      const acceleratorOptions = { [cache]: true, [knob]: value, ...options };
      return { name: `${cache} ${value}`, family: cache, change: { acceleratorOptions } };
    }),
  );
  return [...caches, ...fewer.map((steps) => ({ name: `steps ${steps}`, family: "steps", change: { steps } }))];
}

/** The name of a setting as people read it. */
export function titleOfSetting({ name, family, change }) {
  if (name === REFERENCE) return t("benchmark.reference");
  if (family === "steps") return t("benchmark.stepsName", { steps: change.steps });
  return `${t(`caches.${family}`)} ${change.acceleratorOptions[CACHES[family].knob]}`;
}

/**
 * The tasks in their order. Each prompt is rendered once in a few steps before, so that nothing is measured that only
 * its first picture needs. Then the rounds follow each other, so that a change of the machine's load meets all alike.
 */
export function tasksOf({ prompts, settings, rounds, common }) {
  const warmUps = prompts.map((_, prompt) => ({ kind: "warmUp", prompt, change: { steps: Math.min(WARM_UP_STEPS, common.steps) } }));
  const all = [{ name: REFERENCE, change: {} }, ...settings];
  const measured = Array.from({ length: rounds }, (_, round) =>
    prompts.flatMap((_, prompt) => all.map(({ name, change }) => ({ kind: "measured", round, prompt, setting: name, change }))),
  );
  return [...warmUps, ...measured.flat()];
}

/** The task that is sent. Its picture is a PNG, so that no compression counts as a difference. */
export function wireTask({ common, prompts }, { prompt, change }, taskUUID) {
  const task = { taskType: "imageInference", taskUUID, ...common, positivePrompt: prompts[prompt], ...change };
  return { ...task, outputFormat: "PNG", ownware: { priority: "low" } };
}

/** Seconds of all computed steps by the server's learnt paces: no cache is counted. Undefined without a pace of the model. */
export function estimatedSeconds(paces, { common }, tasks) {
  const tokens = ((common.width * common.height) / PIXELS_OF_A_TOKEN) * (common.CFGScale > 1 ? 2 : 1);
  const own = paces.filter((pace) => pace.model.toLowerCase() === common.model.toLowerCase() && pace.references === 0);
  const far = (pace) => Math.abs(Math.log(pace.tokens / tokens));
  const pace = own.sort((one, other) => far(one) - far(other))[0];
  if (!pace) return undefined;
  const steps = tasks.reduce((sum, { change }) => sum + (change.steps ?? common.steps), 0);
  return (steps * pace.secondsPerStep * tokens) / pace.tokens;
}
