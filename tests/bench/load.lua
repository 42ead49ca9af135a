-- Postbacks for wrk: each with a tid of its own, about CLICKS clicks in turn, every connection PAUSE milliseconds apart.
local clicks = tonumber(os.getenv("CLICKS"))
local pause = tonumber(os.getenv("PAUSE") or "0")
local run = os.getenv("RUN")
local number = 0

function request()
  number = number + 1
  local subid = string.format("bench%08d", number % clicks)
  return wrk.format("GET", "/2a76c2a/postback?subid=" .. subid .. "&tid=" .. run .. "x" .. number
    .. "&status=sale&payout=2.61&em=buyer" .. number .. "@gmail.com&fn=John&ln=Snow" .. number % 1000
    .. "&ph=+7123" .. 1000000 + number)
end

if pause > 0 then
  function delay()
    return pause
  end
end
