"""Print the results as the tables of the README."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from explaining import ERASED_AT, ERASED_BY

RESULTS = Path(__file__).parent / "results"
REGIONS = ("sky", "road", "static", "moving")
OTHERS = ("coldest", "random", "blocks", "even", "center", "fixed")


def main() -> None:
    for name in ("synthetic", "real"):
        found = {stage: read(stage, name) for stage in ("evaluate", "explain", "film")}
        for stage, lines in (("evaluate", errors), ("explain", maps), ("film", films)):
            if found[stage]:
                print(f"\n## {stage}, {name}\n", *lines(found[stage]), sep="\n")


def read(stage: str, name: str) -> dict[str, Any]:
    path = RESULTS / f"{stage}_{name}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def row(*cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def head(*cells: str) -> Iterator[str]:
    yield row(*cells)
    yield row(*["---"] * len(cells))


def errors(found: dict[str, Any]) -> Iterator[str]:
    """ATE in metres, RE in degrees, the network's with intervals."""
    best = found["best"]
    yield f"best epoch {best['epoch']}, {best['steps']} steps, photometric {best['validation_photometric']:.4f}\n"
    yield from head("", "5-frame ATE (m)", "5-frame RE (rad)", "ATE, network less this", "RE, network less this")
    for name in ("trained", "mirrored", "untrained"):
        mean = found[name]["mean"]
        yield row(f"network, {name}", span(mean["ate_5"], 4), span(mean["re_5"], 4), "", "")
    for name, other in found["trained"]["mean"]["baselines"].items():
        less = (span(other[f"{kind}_5_network_minus"], 4) for kind in ("ate", "re"))
        yield row(name.replace("_", " "), f"{other['ate_5']:.4f}", f"{other['re_5']:.4f}", *less)
    for name, other in found["mirrored"]["mean"]["baselines"].items():
        less = (span(other[f"{kind}_5_network_minus"], 4) for kind in ("ate", "re"))
        yield row(f"mirrored less {name.replace('_', ' ')}", "", "", *less)


def maps(found: dict[str, Any]) -> Iterator[str]:
    for layer, facts in found["layers"].items():
        yield f"\n{layer}, {facts['cells']} cells, {facts['frames']} frames; vanishing {facts['vanishing']}"
        told = (f"{pair['name']} {span(pair['spearman'])}" for pair in facts["agreement"] if pair["spearman"])
        yield f"loss map against the size of: {', '.join(told)}\n"
        if "regions" in facts:
            yield from densities(facts["regions"])
    for seed, facts in found["untrained"].items():
        yield f"\nuntrained {seed}, {ERASED_AT}\n"
        yield from densities(facts["regions"])
    for measure in ("metres", "degrees"):
        yield f"\n{measure}; in brackets the paired interval of hottest less this\n"
        yield from erased(found["deletion"], measure)


def densities(found: dict[str, Any]) -> Iterator[str]:
    yield from head("map", *REGIONS)
    for score, report in found.items():
        by_name = {region["name"]: region for region in report["regions"]}
        yield row(score, *(density(by_name[name]) for name in REGIONS))
    one = {region["name"]: region for region in found["loss"]["regions"]}
    yield row("share of the area", *(f"{one[name]['area_share'] or 0:.3f}" for name in REGIONS))
    yield row("center prior", *(f"{one[name]['center_density'] or 0:.2f}" for name in REGIONS))
    yield row("mean loss map", *(f"{one[name]['fixed_density'] or 0:.2f}" for name in REGIONS))


def density(region: dict[str, Any]) -> str:
    if region["density"] is None:
        return "no heat"
    return span([region["density"], *region["density_interval"]])


def erased(found: dict[str, Any], measure: str) -> Iterator[str]:
    first = found[ERASED_BY[0]]
    yield from head(
        f"{first['windows']} windows, cells {first['cells']}", *(f"{share:.0%}" for share in first["fractions"])
    )
    for score, report in found.items():
        hottest = report["changes"][measure]["hottest"]
        yield row(f"**{score}: hottest**", *(f"{values[0]:.4f}" for values in hottest))
        for order in OTHERS:
            pairs = zip(report["changes"][measure][order], report["hottest_minus"][measure][order], strict=True)
            yield row(order, *(f"{values[0]:.4f} ({less[1]:+.4f}, {less[2]:+.4f})" for values, less in pairs))


def films(found: dict[str, Any]) -> Iterator[str]:
    yield from head("source", "frames, width, height", "maps", "overlay video", "driving video", "vanishing")
    for name, facts in found.items():
        yield row(name, facts["source"], facts["maps"], facts["overlay"], facts["drive"], facts["vanishing"])


def span(values: Sequence[float], digits: int = 2) -> str:
    return f"{values[0]:.{digits}f} ({values[1]:.{digits}f} to {values[2]:.{digits}f})"


if __name__ == "__main__":
    main()
