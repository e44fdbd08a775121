-- etl.order_of tells more than it did, which a function that is replaced cannot
drop function if exists etl.order_of(uuid);
