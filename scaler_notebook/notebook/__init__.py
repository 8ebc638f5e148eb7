"""The only place where IPython, ipykernel, ipywidgets and anywidget are imported: bridge, pump, views, magics."""
