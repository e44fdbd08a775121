-- The known name that was probably meant: with the smallest edit distance, upper and lower case being the
-- same, if that is at most a third of what was given, or 2. Of several at the same distance the first of the
-- same length, else the first. vocabulary/nearest_name.ts has the same rule; a test compares.
create or replace function etl.nearest_name(given text, known text[]) returns text
language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
  name text[] := string_to_array(lower(given), null);
  letters text[];
  candidate text;
  best text;
  best_score integer;
  score integer;
  previous integer[];
  current integer[];
  diagonal integer;
begin
  if given = '' or length(given) > 63 then return null; end if;
  best_score := 2 * greatest(2, length(given) / 3) + 2;
  foreach candidate in array known loop
    score := case when length(candidate) = length(given) then 0 else 1 end;
    -- no edit makes up for more letters than it adds
    continue when 2 * abs(length(candidate) - length(given)) + score >= best_score;
    letters := string_to_array(lower(candidate), null);
    previous := array(select generate_series(0, cardinality(letters)));
    for i in 1..cardinality(name) loop
      current := array[i];
      for j in 1..cardinality(letters) loop
        diagonal := previous[j] + case when name[i] = letters[j] then 0 else 1 end;
        current[j + 1] := least(current[j] + 1, previous[j + 1] + 1, diagonal);
      end loop;
      previous := current;
    end loop;
    score := score + 2 * previous[cardinality(letters) + 1];
    if score < best_score then
      best_score := score;
      best := candidate;
    end if;
  end loop;
  return best;
end $$;
