// What a benchmark has found: for each setting its speed-up and its likeness over the prompts, and the front of both.

import { REFERENCE } from "./plan.js";

const median = (values) => {
  const sorted = [...values].sort((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** The measured tasks of a setting that are done, by their prompt, in the order of the rounds. */
export function byPrompt(run, name) {
  const done = run.tasks.filter((task) => task.setting === name && task.state === "done" && task.seconds > 0);
  return run.prompts.map((_, prompt) => done.filter((task) => task.prompt === prompt));
}

/**
 * A setting's scores, over the prompts that are done: `speedup` and `ssim`, each with `mean` and `worst`; `spread`, by
 * how much of their median the seconds of the same task differ at most; the `steps` that were computed and all; and
 * `pairs`, one of each prompt. Null while none is done.
 */
export function scoresOf(run, setting) {
  const references = byPrompt(run, REFERENCE);
  const own = byPrompt(run, setting.name);
  const pairs = run.prompts.flatMap((prompt, place) => {
    const [reference, tasks] = [references[place], own[place]];
    const ssim = tasks.find((task) => task.likeness)?.likeness.ssim;
    if (!reference.length || !tasks.length || ssim === undefined) return [];
    const [before, seconds] = [reference, tasks].map((list) => median(list.map((task) => task.seconds)));
    return [{ prompt, reference: reference[0], task: tasks.find((task) => task.likeness), before, seconds, speedup: before / seconds, ssim }];
  });
  if (!pairs.length) return null;
  const both = (name) => ({ mean: mean(pairs.map((pair) => pair[name])), worst: Math.min(...pairs.map((pair) => pair[name])) });
  const computed = pairs.map(({ task }) => task.steps - task.reused);
  const spread = Math.max(...[...references, ...own].filter((list) => list.length > 1).map(spreadOf), 0);
  return { setting, pairs, speedup: both("speedup"), ssim: both("ssim"), spread, computed: mean(computed), steps: pairs[0].task.steps };
}

/** By how much of their median the seconds of tasks that are equal differ. */
function spreadOf(tasks) {
  const seconds = tasks.map((task) => task.seconds);
  return (Math.max(...seconds) - Math.min(...seconds)) / median(seconds);
}

/** All scores that there are. */
export const allScores = (run) => run.settings.map((setting) => scoresOf(run, setting)).filter(Boolean);

/** The scores that no other ones beat in both speed-up and likeness, nor the reference, the slowest first. */
export function front(scores) {
  const reference = { speedup: { mean: 1 }, ssim: { mean: 1 } };
  const beats = (one, other) =>
    one.speedup.mean >= other.speedup.mean && one.ssim.mean >= other.ssim.mean && (one.speedup.mean > other.speedup.mean || one.ssim.mean > other.ssim.mean);
  return scores.filter((score) => ![reference, ...scores].some((other) => beats(other, score))).sort((one, other) => one.speedup.mean - other.speedup.mean);
}
