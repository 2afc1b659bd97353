"""The HTTP door: a read-only API with OpenAPI at ``/schema``, metrics, and the web page at ``/``.

There is no authentication: whoever reaches the port reads the fleet. It listens on loopback unless told otherwise, and
then answers only to the names of this machine, so that a web page elsewhere can't read it through a name of its own
that it points here (DNS rebinding).
"""

from __future__ import annotations

import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, TypeVar

from litestar import Litestar, Router, get
from litestar.datastructures import CacheControlHeader, MutableScopeHeaders
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, NotFoundException
from litestar.logging.config import LoggingConfig
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath, QueryParameter
from litestar.plugins.problem_details import ProblemDetailsConfig, ProblemDetailsException, ProblemDetailsPlugin
from litestar.response import File
from litestar.static_files import create_static_files_router

from fleet.config import FleetConfig
from fleet.errors import UnreachableError
from fleet.metrics import MEDIA_TYPE, write_metrics
from fleet.store import Store
from fleet.views import (
    DeviceDetail,
    DeviceView,
    DriftView,
    Health,
    ModelView,
    Page,
    PlacementView,
    ReleaseView,
    RequestView,
    VersionView,
    view_device,
    view_placement,
    view_release,
    view_request,
    view_step,
    view_verdict,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from litestar import Request
    from litestar.types import Message, Scope

PAGE_LIMIT = 500
"""Most items of one answer."""
STEPS_SHOWN = 50
"""Newest steps of updates shown of one device."""
PAGES = Path(__file__).parent / "dashboards"
_CALLERS_MISTAKES = range(400, 500)
"""HTTP's status codes of what only the caller can mend: they are answered, and fill no log."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})

SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
"""Text from devices can't become a program in the page even if the page were to take it for one."""

Database: TypeAlias = NamedDependency[Store]
Configuration: TypeAlias = NamedDependency[FleetConfig]
Limit: TypeAlias = Annotated[int, QueryParameter(ge=1, le=PAGE_LIMIT, description="Most items of this page.")]
Offset: TypeAlias = Annotated[int, QueryParameter(ge=0, le=10**9, description="Items to leave out, from the first.")]
Model: TypeAlias = Annotated[str | None, QueryParameter(max_length=64, description="Only this model.")]

Item = TypeVar("Item")


@get("/devices", sync_to_thread=True, summary="Devices, by name, and what runs on them")
def list_devices(store: Database, limit: Limit = 100, offset: Offset = 0) -> Page[DeviceView]:
    """A page of devices."""
    devices = store.devices.all(limit=limit + 1, offset=offset)
    placed: dict[str, list[PlacementView]] = {device.name: [] for device in devices}
    assigned = store.wishes.assigned()
    for placement in store.placements.of(list(placed)):
        wanted = assigned[placement.device].models if placement.device in assigned else ()
        placed[placement.device].append(view_placement(placement, wanted))
    return _page([view_device(device, placed[device.name]) for device in devices], limit, offset)


@get("/devices/{name:str}", sync_to_thread=True, summary="One device, and how its last updates went")
def show_device(store: Database, name: FromPath[str]) -> DeviceDetail:
    """One device.

    Raises:
        NotFoundException: there is none of that name.
    """
    device = store.devices.find(name)
    if device is None:
        raise NotFoundException(f"no device '{name[:64]}'")
    assigned = store.wishes.assigned()
    wanted = assigned[name].models if name in assigned else ()
    models = [view_placement(placement, wanted) for placement in store.placements.of([name])]
    steps = [view_step(row) for row in store.placements.steps(device=name, limit=STEPS_SHOWN)]
    return DeviceDetail(device=view_device(device, models), steps=steps)


@get("/models", sync_to_thread=True, summary="Models, and which versions run")
def list_models(store: Database, limit: Limit = 100, offset: Offset = 0) -> Page[ModelView]:
    """A page of models: all that were published or run somewhere."""
    newest: dict[str, tuple[float, str]] = {}
    for release in store.releases.all():
        newest[release.model] = max(newest.get(release.model, (0.0, "")), (release.published, release.version))
    versions: dict[str, dict[tuple[str, str], int]] = {}
    waiting: dict[str, int] = {}
    for found in store.figures.in_use():
        counts = versions.setdefault(found.model, {})
        if found.active is None:
            waiting[found.model] = waiting.get(found.model, 0) + found.devices
        else:
            key = (found.active.version, found.active.target)
            counts[key] = counts.get(key, 0) + found.devices
    models = []
    for name in sorted(newest.keys() | versions.keys()):
        used = sorted(versions.get(name, {}).items(), key=lambda item: (-item[1], item[0]))
        views = [VersionView(version=key[0], target=key[1], devices=count) for key, count in used]
        published = newest[name][1] if name in newest else None
        models.append(ModelView(name=name, newest=published, versions=views, waiting=waiting.get(name, 0)))
    return _page(models[offset : offset + limit + 1], limit, offset)


@get("/models/{model:str}/where", sync_to_thread=True, summary="On which devices a model is, and which version runs")
def list_places(store: Database, model: FromPath[str], limit: Limit = 100, offset: Offset = 0) -> Page[PlacementView]:
    """A page of the model's placements, by device."""
    assigned = store.wishes.assigned()
    places = [
        view_placement(placement, assigned[placement.device].models if placement.device in assigned else ())
        for placement in store.placements.all(model=model, limit=limit + 1, offset=offset)
    ]
    return _page(places, limit, offset)


@get("/releases", sync_to_thread=True, summary="Published bundles")
def list_releases(store: Database, model: Model = None, limit: Limit = 100, offset: Offset = 0) -> Page[ReleaseView]:
    """A page of releases: by model, target, and the newest first."""
    rows = store.releases.all(model)[offset : offset + limit + 1]
    return _page([view_release(row) for row in rows], limit, offset)


@get("/drift", sync_to_thread=True, summary="Verdicts on drift, the newest first")
def list_verdicts(store: Database, model: Model = None, limit: Limit = 100, offset: Offset = 0) -> Page[DriftView]:
    """A page of verdicts."""
    rows = store.retraining.verdicts(model=model, limit=limit + 1, offset=offset)
    targets = {release.bundle: release.target for release in store.releases.all(model)}
    return _page([view_verdict(row, targets.get(row.bundle, "")) for row in rows], limit, offset)


@get("/requests", sync_to_thread=True, summary="Retraining requests, the newest first, and how their deliveries went")
def list_requests(store: Database, model: Model = None, limit: Limit = 100, offset: Offset = 0) -> Page[RequestView]:
    """A page of requests."""
    rows = store.retraining.requests(model, limit=limit + 1, offset=offset)
    deliveries = store.retraining.deliveries([row.cause for row in rows])
    return _page([view_request(row, deliveries) for row in rows], limit, offset)


@get("/healthz", sync_to_thread=True, summary="Whether server and database answer")
def show_health(store: Database, config: Configuration) -> Health:
    """That both answer."""
    store.figures.devices()
    return Health(status="ok", fleet=config.fleet)


@get("/metrics", sync_to_thread=True, summary="Figures for Prometheus", media_type=MEDIA_TYPE)
def show_metrics(store: Database) -> str:
    """The fleet's figures in the Prometheus text format."""
    return write_metrics(store)


@get("/", include_in_schema=False, sync_to_thread=False)
def show_page() -> File:
    """The web page."""
    return File(PAGES / "index.html", media_type="text/html", content_disposition_type="inline")


def create_app(store: Store, config: FleetConfig) -> Litestar:
    """The application, which reads `store` and never writes to it; it does not close it."""
    return Litestar(
        route_handlers=[
            Router(
                "/api/v1",
                route_handlers=[
                    list_devices,
                    show_device,
                    list_models,
                    list_places,
                    list_releases,
                    list_verdicts,
                    list_requests,
                ],
            ),
            show_health,
            show_metrics,
            show_page,
            create_static_files_router(
                "/assets", [PAGES], cache_control=CacheControlHeader(no_cache=True), resolve_symlinks=False
            ),
        ],
        dependencies={
            "store": Provide(lambda: store, sync_to_thread=False),
            "config": Provide(lambda: config, sync_to_thread=False),
        },
        before_request=_check_host(config.api.host),
        before_send=[_add_headers],
        logging_config=LoggingConfig(
            configure_root_logger=False, log_exceptions="always", disable_stack_trace=set(_CALLERS_MISTAKES)
        ),
        openapi_config=OpenAPIConfig(
            title="packtrain fleet",
            version="1",
            description="What the fleet's devices run, how their data drifts, and which retrainings were asked for.",
            path="/schema",
            render_plugins=[JsonRenderPlugin(path="/")],
        ),
        plugins=[
            ProblemDetailsPlugin(
                ProblemDetailsConfig(
                    exception_to_problem_detail_map={HTTPException: _problem, UnreachableError: _outage}
                )
            )
        ],
    )


def _page(items: list[Item], limit: int, offset: int) -> Page[Item]:
    """The first `limit` of the items, of which one more was read to see whether there is a next page."""
    return Page(items=items[:limit], next=offset + limit if len(items) > limit else None)


def _check_host(host: str) -> Callable[[Request[Any, Any, Any]], None]:
    def check(request: Request[Any, Any, Any]) -> None:
        asked = re.sub(r":[0-9]*$", "", request.headers.get("host", ""))
        if host in LOOPBACK and asked not in LOOPBACK:
            raise HTTPException(status_code=421, detail=f"this server is not '{asked[:100]}'")

    return check


async def _add_headers(message: Message, _: Scope) -> None:
    if message["type"] == "http.response.start":
        MutableScopeHeaders(message).update(SECURITY_HEADERS)


def _problem(error: HTTPException) -> ProblemDetailsException:
    return ProblemDetailsException(
        status_code=error.status_code,
        title=HTTPStatus(error.status_code).phrase,
        detail=error.detail,
        extra=error.extra,
        headers=error.headers,
    )


def _outage(error: UnreachableError) -> ProblemDetailsException:
    return ProblemDetailsException(
        status_code=HTTPStatus.SERVICE_UNAVAILABLE,
        title=HTTPStatus.SERVICE_UNAVAILABLE.phrase,
        detail=str(error),
    )
