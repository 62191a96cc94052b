"""Metrics of sounding objects, whose events can be detected exactly."""
