"""JSON pages become Arrow tables: row specs, columns, pages, child tables. Pure."""
