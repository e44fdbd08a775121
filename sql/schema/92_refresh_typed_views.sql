-- A newer version may make views differently; those that are as they should be are not touched.
select etl.refresh_typed_views();
