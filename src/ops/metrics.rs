//! Every metric name, with help and labels. `/metrics`, the docs and the shipped rules are compared with this list.
