"""What a reason or a verdict means in plain words, and what to do next. For people; nothing decides by it."""

#: Of a postback that is not sent: what to do, by the contract's reason.
NEXT = {
    "no_click": "wait: it is decided as soon as its click appears; if none ever does, clicks do not reach "
    "capi-sidecar: is capi-sidecar.location.conf in the tracker's location of Nginx?",
    "ignore_status": "nothing: the postback URL itself asks for it; take the status out of ignore_status to send it",
    "status_null": "nothing: the mapping says not to send it; give the status an event to change that",
    "status_unmapped": "add a line for this status to the mapping: the status, a colon and the Facebook event, such as "
    "Purchase, or null where it is not to be sent",
    "campaign_without_integration": "add the campaign to campaigns of the integration that is to report it: its alias, "
    "which stands after the domain in the campaign's link, or its domain",
    "integration_without_campaign": "add the campaign to campaigns of the integration: its alias, which stands after "
    "the domain in the campaign's link, or its domain; an integration without any reports nothing",
    "only": "nothing, if the condition is meant; else widen only",
    "skip_zero": "nothing, if conversions without money are not to be sent; else remove skip_zero",
    "same_pixel": "nothing: another integration sends this event to the same pixel",
    "duplicate": "nothing: this conversion was reported before; an upsell needs a tid of its own",
    "wrong_key": "compare the key in the network's postback URL with tracker.postback_key",
    "no_subid": "put the network's click-id macro into its postback URL as subid=",
    "bad_subid": "put the network's click-id macro into its postback URL as subid=: what came is none of the tracker's",
    "status_macro": "the network did not replace its status macro: mend its postback URL",
    "no_fbclid": "click the ad in Facebook, which adds fbclid to its link by itself, and look whether fbclid=... "
    "stands in the address; the ad's link must be that of the Keitaro campaign, and the campaign be made with the "
    "Facebook template. For traffic through an app set fbclid_from",
    "literal_fbclid": "in Facebook Ads Manager, remove fbclid={fbclid} from the ad's URL parameters: Facebook adds the "
    "real one by itself; leave the campaign's template in Keitaro as it is",
    "click_expired": "see whether clicks reach the journal (capi-sidecar status); what came too late can be replayed",
    "too_old": "nothing can be done: Meta takes no event that is older than 7 days",
    "before_first_start": "nothing, if Keitaro's own integration sent it; else replay it",
    "invalid_event": "mend what the trace names; Meta would refuse the event",
}

#: Of an attempt: what Meta's answer means, and what to do.
ANSWER = {
    "accepted": ("Meta took it", ""),
    "refused": ("Meta does not take this event", "mend what Meta names in the mapping or the postback"),
    "token": (
        "Meta refuses the token: it is wrong, has expired or was withdrawn",
        "generate a new token at the pixel in Facebook Events Manager and put it into its place; sending resumes by "
        "itself, and nothing is lost",
    ),
    "permission": (
        "the pixel does not exist, or the token may not use it",
        "compare pixel_id with the number in Facebook Events Manager; if it is right, generate the token at that very "
        "pixel, or give it access in Business Manager: it is tried again by itself; if it was wrong, call the "
        "postbacks that came meanwhile once more, for no event moves to another pixel",
    ),
    "proxy": ("the proxy could not be used", "mend the proxy or its line; nothing goes around it"),
    "throttled": ("Meta asks for a pause", "wait: it resumes when Meta said"),
    "blocked": ("Meta has blocked this for its policy", "look into Events Manager; it is tried again after an hour"),
    "transient": ("Meta could not take it for the moment", "wait: it is tried again by itself"),
    "mismatch": ("Meta counted other events than were sent", "wait: it is sent again with the same identity"),
    "unknown": ("an answer that is not known", "look at its numbers; after a few tries it waits for you"),
}

#: Of a held delivery: what it waits for.
HELD = {
    "paused": "its integration is paused",
    "parked": "a fault of token, pixel or proxy; capi-sidecar status tells which",
    "throttled": "Meta asked for a pause",
    "in_error": "its integration is in error; capi-sidecar check --secrets tells why",
    "integration_gone": "its integration is gone; queue release --to NAME gives it another one with its pixel",
    "by_hand": "put aside, by queue hold or after answers that nobody knows; queue release sends it",
}

#: Of a dead delivery: why it was given up.
DEAD = {
    "refused": "Meta does not take this event",
    "deadline": "Meta's seven days are over",
    "deleted": "deleted by hand",
    "rejected_meanwhile": "the conversion was withdrawn before it was sent",
}
