"""Makes the loop of a method that samples: reward or teacher, reference, critic, pretraining mix as its options ask.

Leaves out the loop itself (`online`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tutelage.engine.answer import OwnEngine, answer_prompts
from tutelage.engine.generate import Engine, Sampling
from tutelage.engine.tree import Tree
from tutelage.errors import ConfigError
from tutelage.methods.registry import Reading
from tutelage.models.find import resolve_model
from tutelage.rewards.base import RewardSum
from tutelage.rewards.spec import make_reward
from tutelage.store.sources import readable
from tutelage.train.alarms import Watch, remedies
from tutelage.train.critic import Critic, PretrainingMix, make_critic
from tutelage.train.dataset import make_dataset, token_limit
from tutelage.train.online import OnlineLoop, ReferencePolicy
from tutelage.train.prepare import other_engine
from tutelage.train.rollouts import Actor
from tutelage.train.run_folder import RunFolder
from tutelage.train.setting import Setting
from tutelage.train.teacher import make_teacher


def make_online_loop(setting: Setting, folder: RunFolder) -> OnlineLoop:
    """The loop, not yet resumed. Raises a TutelageError for what the options ask for and is not there."""
    config, method = setting.config, setting.method
    model = setting.engine.model
    actor = Actor(model, setting.tokenizer, method, _reward(setting), config.seed, engine=_engine(setting))
    loop = OnlineLoop(
        config, method, setting.engine, setting.optimizer, setting.dataset, folder, setting.learning_rate,
        take_samples=_sampler(setting) if config.num_samples else None, say=setting.say, quiet=setting.quiet,
        actor=actor,
        reference=_reference(setting) if method.needs_reference else None,
        teacher=make_teacher(setting) if method.has_teacher else None,
        mix=_mix(setting), watch=Watch(method.stop_on, remedies(method)),
    )  # fmt: skip
    if method.has_critic:
        loop.critic = _critic(setting, loop)
    return loop


def _engine(setting: Setting) -> Engine:
    """What samples, with room for the longest of the run's prompts."""
    method, model, tokenizer = setting.method, setting.engine.model, setting.tokenizer
    if method.sampler == "own":
        return OwnEngine(model, tokenizer, method.sampling_batch)
    from tutelage.engine.vllm import start_vllm

    setting.say("starting vLLM")
    prompts = [item.ids for item in setting.dataset.train]
    sampling = Sampling(method.max_new_tokens, method.temperature)
    return start_vllm(model, tokenizer, prompts, sampling, batch_size=method.sampling_batch)


def _reward(setting: Setting) -> RewardSum:
    """What the options name; with a teacher nothing is scored, and the sum is of nothing."""
    config, method = setting.config, setting.method
    if method.has_teacher:
        return RewardSum(())
    return make_reward(
        method.reward, workspace=config.workspace, ensemble_penalty=method.ensemble_penalty, say=setting.say
    )  # fmt: skip


def _reference(setting: Setting) -> ReferencePolicy:
    config, method, model = setting.config, setting.method, setting.engine.model
    if config.lora.rank and method.ref_model is None:
        return ReferencePolicy(setting.engine, model.disable_adapter)  # type: ignore[arg-type]
    load = other_engine(config, setting.tokenizer, setting.say)
    return ReferencePolicy(load(method.ref_model or config.model))


def _critic(setting: Setting, loop: OnlineLoop) -> Critic:
    method, reward = setting.method, loop.actor.reward
    name = method.critic or reward.first_model
    critic = make_critic(setting.config, method, name, setting.tokenizer, setting.learning_rate, setting.say)
    if name is not None and name == reward.first_model:
        critic.offset = lambda: -loop.state.extra.get("reward_shift", 0.0)
    return critic


def _mix(setting: Setting) -> PretrainingMix | None:
    method, config = setting.method, setting.config
    data = getattr(method, "ptx_data", None)
    if not data:
        return None
    trees = pretraining_trees(data, setting)
    return PretrainingMix(trees, method.ptx_coef, method.ptx_batch, config.seed)


def pretraining_trees(data: str, setting: Setting) -> list[Tree]:
    """Trees of the pairs in a data file. Raises DataError as SFT on it would."""
    from tutelage.methods.sft import SFT

    data = readable(setting.config.workspace, data)
    records = SFT().read(data, Reading(setting.config.bad_records, setting.say))
    limit = token_limit(setting.config, setting.engine.model)
    return make_dataset(
        setting.config, SFT(), setting.tokenizer, limit, records, setting.say
    ).trees  # fmt: skip


def _sampler(setting: Setting) -> Callable[[], list[Mapping[str, Any]]]:
    """Greedy answers to the first prompts of the run, so that a person can read the change."""
    config, items = setting.config, setting.dataset.train[: setting.config.num_samples]
    prompts = [item.prompt for item in items]

    def take() -> list[Mapping[str, Any]]:
        limit = min(config.sample_tokens, setting.method.max_new_tokens)
        answers = answer_prompts(setting.engine.model, setting.tokenizer, prompts, Sampling(limit))
        return [
            {"prompt": prompt.messages[-1].content, "answer": answer.text, "stopped": answer.stopped}
            for prompt, answer in zip(prompts, answers, strict=True)
        ]

    return take


def check_online_options(method: Any, workspace: Path) -> None:
    """What can be found wrong before anything is loaded. Raises ConfigError."""
    from tutelage.rewards.spec import check_reward
    from tutelage.train.alarms import check_stop_on

    if method.has_teacher:
        if not method.teacher:
            raise ConfigError("--teacher is missing; give a model whose answers are better and whose tokens the same")
        resolve_model(method.teacher, workspace)
    elif not method.reward:
        raise ConfigError("--reward is missing; give a reward model, a check such as `math`, or ./reward.py:function")
    else:
        check_reward(method.reward, workspace)
    check_stop_on(method.stop_on)
    if method.sampler == "vllm":
        from tutelage.engine.vllm import check_temperature, require_vllm

        require_vllm()
        check_temperature(Sampling(method.max_new_tokens, method.temperature))
