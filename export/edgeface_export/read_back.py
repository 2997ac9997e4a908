"""An engine just built, loaded on its GPU and asked what its layers compute in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from edgeface_export.layer_inspect import LayerReport, judge_layers, read_layers
from edgeface_export.layer_types import NetworkTypes
from edgeface_export.trt_module import TrtLog
from edgeface_runtime.errors import EngineError

__all__ = ["read_back"]


def read_back(
    module: Any,
    log: TrtLog,
    plan: bytes,
    shape: tuple[str, tuple[int, ...]],
    network: NetworkTypes,
    precision: str,
    version_compatible: bool = False,
) -> LayerReport | None:
    """Load `plan` and judge its layers; there must be a GPU. None where the inspector names no types.

    Args:
        shape: name and shape of the input the layers are asked about.
        network: what was parsed.
        version_compatible: the plan carries a runtime of its own, which must be allowed to run.

    Raises:
        EngineError: the plan cannot be loaded, or is not of that precision.
    """
    log.start()
    runtime = module.Runtime(log.logger)
    if version_compatible:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError(f"the engine was built but cannot be loaded on this GPU: {log.last}")
    for text in _told(module, engine, shape):
        try:
            layers = read_layers(text)
        except ValueError:
            continue
        report = judge_layers(layers, network, precision)
        if report is not None:
            return report
    return None


def _told(module: Any, engine: Any, shape: tuple[str, tuple[int, ...]]) -> Iterator[str]:
    """The inspector's answers: for a shape first, since without one a free batch may hide the types."""
    json = module.LayerInformationFormat.JSON
    context = engine.create_execution_context()
    if context is not None and context.set_input_shape(*shape):
        inspector = engine.create_engine_inspector()
        inspector.execution_context = context
        yield str(inspector.get_engine_information(json))
    yield str(engine.create_engine_inspector().get_engine_information(json))
