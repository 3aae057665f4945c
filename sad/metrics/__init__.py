"""Metrics for Prometheus, by its own client library; opt-in (``[metrics]`` of the settings).

=================  ==============================================================================
``meters``         what is counted as it happens: offers, installs, kernel errors, reconciling
``snapshot``       what is looked at when somebody asks: associations, pools, the kernel
``counting``       the kernel with its errors counted
``page``           both as text
``server``         the page over HTTP, on an address or a Unix socket
``textfile``       the page as a file, for node_exporter
=================  ==============================================================================

No metric names a user agent, an identity or an address of one: labels are words of this program.
``dashboard.json`` is for Grafana, ``alerts.yaml`` holds rules for Prometheus; a test has a real
Prometheus answer every query of both.
"""
