"""The lake's cost beside the pipeline that people would write instead: the same Gold from the same database."""
