-- The known name with the smallest edit distance, if it is near enough to be meant.
create or replace function etl.nearest_name(given text, known text[]) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  candidate text;
  best text;
  best_distance integer := greatest(2, length(given) / 3) + 1;
  previous integer[];
  current integer[];
  cost integer;
begin
  if length(given) > 63 then return null; end if;
  foreach candidate in array known loop
    previous := array(select generate_series(0, length(candidate)));
    for i in 1..length(given) loop
      current := array[i];
      for j in 1..length(candidate) loop
        cost := case when substr(given, i, 1) = substr(candidate, j, 1) then 0 else 1 end;
        current[j + 1] := least(current[j] + 1, previous[j + 1] + 1, previous[j] + cost);
      end loop;
      previous := current;
    end loop;
    if previous[length(candidate) + 1] < best_distance then
      best_distance := previous[length(candidate) + 1];
      best := candidate;
    end if;
  end loop;
  return best;
end $$;
