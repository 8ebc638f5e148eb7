"""The only place where IPython, ipykernel, ipywidgets and anywidget are imported: kernel, views, magics."""
