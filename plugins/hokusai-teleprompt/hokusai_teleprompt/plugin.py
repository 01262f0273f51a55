"""The components of this plugin: optimizers, the feedback store, promotions and commands."""

from __future__ import annotations

from hokusai_core.plugin_api import Component, hookimpl

__all__ = [
    "HOKUSAI_HOOK_API",
    "provide_commands",
    "provide_edition_sources",
    "provide_feedback_stores",
    "provide_optimizers",
]

#: The hook contract that this plugin is written for.
HOKUSAI_HOOK_API = 1


@hookimpl
def provide_optimizers() -> list[Component]:
    """Offer the optimizers of DSPy that work."""
    offers = [
        ("labeled_fewshot", "example_demos:LabeledDemos", "Examples as demos; no call of a language model"),
        ("bootstrap_fewshot", "demo_optimizers:BootstrapDemos", "Demos out of the model's own good answers"),
        ("bootstrap_random_search", "demo_optimizers:BootstrapRandomSearch", "The best of many sets of demos"),
        ("bootstrap_optuna", "demo_optimizers:BootstrapOptuna", "The one demo that helps most"),
        ("knn_fewshot", "example_demos:KnnDemos", "For each call the demos that are most like it"),
        ("mipro_v2", "instruction_optimizers:Mipro", "Instructions and demos, searched together"),
        ("copro", "instruction_optimizers:Copro", "Instructions, rewritten in view of their scores"),
        ("simba", "instruction_optimizers:Simba", "Rules and demos against what goes wrong"),
        ("gepa", "instruction_optimizers:Gepa", "Instructions, evolved by reflection on errors"),
        ("better_together", "instruction_optimizers:Together", "Instructions first, then demos for them"),
    ]
    return [
        Component(name=name, target=f"hokusai_teleprompt.optimizers.{target}", summary=summary)
        for name, target, summary in offers
    ]


@hookimpl
def provide_feedback_stores() -> list[Component]:
    """Offer the local feedback store."""
    return [
        Component(
            name="sqlite",
            target="hokusai_teleprompt.feedback.sqlite_store:SqliteFeedbackStore",
            summary="A database in the user's folder, shared by all processes",
        )
    ]


@hookimpl
def provide_edition_sources() -> list[Component]:
    """Offer the signatures that were promoted."""
    return [
        Component(
            name="promotions",
            target="hokusai_teleprompt.promotion_source:PromotionSource",
            summary="Optimized signatures that were promoted, in the user's folder",
        )
    ]


@hookimpl
def provide_commands() -> list[Component]:
    """Offer the commands for optimization, promotion, packs and feedback."""
    offers = [
        ("optimize", "optimize_command:optimize", "Improve a signature on examples, and measure whether it is better"),
        ("diff", "diff_command:diff", "Show how two signature files differ"),
        ("verify", "verify_command:verify", "Compute the figures of a signature file again"),
        ("promote", "promotion_commands:promote_command", "Let an optimized signature replace the one of its name"),
        ("rollback", "promotion_commands:rollback_command", "Undo the latest promotion of a signature"),
        ("promotions", "promotion_commands:promotions_command", "Show what was promoted and rolled back"),
        ("pack", "pack_command:pack", "Make and install packs of optimized signatures"),
        ("feedback", "feedback_command:feedback", "Show and give feedback on executions"),
    ]
    return [
        Component(name=name, target=f"hokusai_teleprompt.commands.{target}", summary=summary, requires=("click",))
        for name, target, summary in offers
    ]
