"""People, pipelines and stages as canonical rows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kpid_hubspot.values import Row, Stage, full_name


def owner_row(owner: Mapping[str, Any]) -> Row:
    """A person; archived ones too, for their deals of the past."""
    teams = owner.get("teams") or []
    primary = next((team.get("name") for team in teams if team.get("primary")), teams[0].get("name") if teams else None)
    return {
        "native_id": str(owner["id"]),
        "created_at": owner.get("createdAt"),
        "updated_at": owner.get("updatedAt"),
        "name": full_name(owner.get("firstName"), owner.get("lastName")) or owner.get("email"),
        "email": owner.get("email") or None,
        "team": primary,
        "is_active": not owner.get("archived", False),
    }


def pipeline_row(pipeline: Mapping[str, Any]) -> Row:
    """A pipeline."""
    return {
        "native_id": str(pipeline["id"]),
        "created_at": pipeline.get("createdAt"),
        "updated_at": pipeline.get("updatedAt"),
        "name": pipeline.get("label"),
        "sort_order": pipeline.get("displayOrder"),
    }


def stage_rows(pipeline: Mapping[str, Any], known: Mapping[str, Stage]) -> list[Row]:
    """Its stages, with what is ``known`` of their meaning."""
    return [
        {
            "native_id": str(stage["id"]),
            "created_at": stage.get("createdAt"),
            "updated_at": stage.get("updatedAt"),
            "name": stage.get("label"),
            "pipeline_id": str(pipeline["id"]),
            "sort_order": stage.get("displayOrder"),
            "probability": known[str(stage["id"])].probability,
            "state": known[str(stage["id"])].state,
        }
        for stage in pipeline.get("stages", ())
    ]
