"""Conversions between Gymnasium spaces and arrays: observations for networks, actions for environments."""

from policygrad.spaces.actions import action_size, check_action_space, environment_actions
from policygrad.spaces.json_form import declared_numbers, space_from_json, space_to_json
from policygrad.spaces.kinds import (
    CHOICES,
    LARGEST_BOUND,
    Space,
    bounds_of,
    choices_of,
    in_words,
    interval_units,
    is_choice,
    is_composite,
)
from policygrad.spaces.observations import (
    LARGEST_ONE_HOT,
    as_rows,
    entry,
    flatten_all,
    flatten_one,
    is_image,
    observation_numbers,
    observation_size,
    observed_part,
    shape_of,
)

__all__ = [
    "CHOICES",
    "LARGEST_BOUND",
    "LARGEST_ONE_HOT",
    "Space",
    "action_size",
    "as_rows",
    "bounds_of",
    "check_action_space",
    "choices_of",
    "declared_numbers",
    "entry",
    "environment_actions",
    "flatten_all",
    "flatten_one",
    "in_words",
    "interval_units",
    "is_choice",
    "is_composite",
    "is_image",
    "observation_numbers",
    "observation_size",
    "observed_part",
    "shape_of",
    "space_from_json",
    "space_to_json",
]
