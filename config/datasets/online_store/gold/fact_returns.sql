-- What was sent back or refunded. Of a line that is not there, product and seller are unknown.
-- kind: fact
-- key: order_item_id, reason_id
-- depends_on: reasons(order_item_id -> order_item_id), order_items(order_item_id -> order_item_id)
-- column: order_item_id string from reasons.order_item_id: Id of the line.
-- column: reason_id string from reasons.reason_id: Id of the return or refund.
-- column: order_id string from order_items.order_id: Id of the order; NULL: the line is not there.
-- column: product_id int from order_items.product_id: Id of the product (dim_product); -1: unknown.
-- column: seller_id int from order_items.seller_id: Who sold it (dim_seller); -1: unknown.
-- column: return_date_id int from reasons.created_at: Day on which the reason was given, in UTC, as YYYYMMDD.
-- column: kind string from reasons.kind: What it is: return or refund.
-- column: reason string from reasons.reason: Why, such as damaged or too late.
-- column: quantity int from reasons.quantity: How many pieces it is about.
-- column: amount decimal(12,2) from reasons.amount: What the customer gets back, in euros.
SELECT
    reasons.order_item_id,
    reasons.reason_id,
    order_items.order_id,
    coalesce(order_items.product_id, -1) AS product_id,
    coalesce(order_items.seller_id, -1) AS seller_id,
    CAST(date_format(reasons.created_at, 'yyyyMMdd') AS INT) AS return_date_id,
    reasons.kind,
    reasons.reason,
    reasons.quantity,
    reasons.amount
FROM reasons
LEFT JOIN order_items ON order_items.order_item_id = reasons.order_item_id
