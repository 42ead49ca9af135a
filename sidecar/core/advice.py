"""What a reason or a verdict means in plain words, and what to do next. For people; nothing decides by it."""

#: Of a postback that is not sent: what to do, by the contract's reason.
NEXT = {
    "no_click": "wait: it is decided as soon as its click appears; if none ever does, is the journal's line in the "
    "tracker's location?",
    "ignore_status": "nothing: the postback URL itself asks for it; take the status out of ignore_status to send it",
    "status_null": "nothing: the mapping says not to send it; give the status an event to change that",
    "status_unmapped": "add a line for this status to the mapping: an event, or null where it is not to be sent",
    "campaign_without_integration": "add the campaign's alias or domain to campaigns of the integration",
    "integration_without_campaign": "add campaigns to the integration: without any it reports nothing",
    "only": "nothing, if the condition is meant; else widen only",
    "skip_zero": "nothing, if conversions without money are not to be sent; else remove skip_zero",
    "same_pixel": "nothing: another integration sends this event to the same pixel",
    "duplicate": "nothing: this conversion was reported before; an upsell needs a tid of its own",
    "wrong_key": "compare the key in the network's postback URL with tracker.postback_key",
    "no_subid": "put the network's click-id macro into its postback URL as subid=",
    "bad_subid": "put the network's click-id macro into its postback URL as subid=: what came is none of the tracker's",
    "status_macro": "the network did not replace its status macro: mend its postback URL",
    "no_fbclid": "is the ad's link the Keitaro campaign with the Facebook template, and was it opened from Facebook? "
    "For traffic through an app set fbclid_from",
    "literal_fbclid": "remove fbclid={fbclid} from the ad's URL parameters; Facebook adds the real one by itself",
    "click_expired": "see whether clicks reach the journal (capi-sidecar status); what came too late can be replayed",
    "too_old": "nothing can be done: Meta takes no event that is older than 7 days",
    "before_first_start": "nothing, if Keitaro's own integration sent it; else replay it",
    "invalid_event": "mend what the trace names; Meta would refuse the event",
}

#: Of an attempt: what Meta's answer means, and what to do.
ANSWER = {
    "accepted": ("Meta took it", ""),
    "refused": ("Meta does not take this event", "mend what Meta names in the mapping or the postback"),
    "token": ("Meta refuses the token", "put a new token into its place; sending resumes by itself"),
    "permission": (
        "the token may not use this pixel",
        "give it access in Business Manager; it is tried again by itself",
    ),
    "proxy": ("the proxy could not be used", "mend the proxy or its line; nothing goes around it"),
    "throttled": ("Meta asks for a pause", "wait: it resumes when Meta said"),
    "blocked": ("Meta has blocked this for its policy", "look into Events Manager; it is tried again after an hour"),
    "transient": ("Meta could not take it for the moment", "wait: it is tried again by itself"),
    "mismatch": ("Meta counted other events than were sent", "wait: it is sent again with the same identity"),
    "unknown": ("an answer that is not known", "look at its numbers; after a few tries it waits for you"),
}
