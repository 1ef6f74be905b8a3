# noqa: A005  # nothing imports it as `site`
