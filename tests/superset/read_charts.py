"""Run by Superset's Python: ask it for the data of every chart, and print it as JSON."""

from __future__ import annotations

import json
import logging

from superset.app import create_app

app = create_app()
logging.disable(logging.CRITICAL)
with app.app_context():
    from superset import db, security_manager
    from superset.commands.chart.data.get_data_command import ChartDataCommand
    from superset.common.query_context_factory import QueryContextFactory
    from superset.models.dashboard import Dashboard
    from superset.utils.core import override_user

    with override_user(security_manager.find_user("admin")):
        (dashboard,) = db.session.query(Dashboard).all()
        charts = {}
        for chart in dashboard.slices:
            params = chart.params_dict
            group = params.get("groupby") or []
            columns = [params["x_axis"]] if "x_axis" in params else []
            query = {
                "metrics": params.get("metrics") or [params["metric"]],
                "columns": [*columns, *(group if isinstance(group, list) else [group])],
                "row_limit": 50_000,
            }
            source = {"id": chart.datasource_id, "type": "table"}
            context = QueryContextFactory().create(datasource=source, queries=[query], force=True)
            (answer,) = ChartDataCommand(context).run()["queries"]
            charts[chart.slice_name] = answer["data"]
    print(json.dumps({"title": dashboard.dashboard_title, "charts": charts}, default=str))
